/** An answer in words and figures: the verdict with its warnings, and what lies behind it. */

import { el, sentence } from "./dom.js";
import { gauge, probability, rate, short } from "./gauge.js";

const SETS = { internal: "internal validation set", external: "external validation set", development: "development set" };
/** Said of every image, and so a remark below the figures; all other warnings stand above them. */
const USUAL = /^the model was trained on images that show a mass:/;
/** Said of every clip, with frames counted from 0; the page counts from 1, as viewers do, and says it itself. */
const ONE_FRAME = /^frame \d+ \(of /;

/** Warnings, POM, gauge. */
export function verdict(answer) {
  const { pom, label, threshold, operating_point: point, not_sure: notSure } = answer;
  return [
    warnings(answer),
    el("h2", { class: "eyebrow" }, "Probability of malignancy (POM)"),
    el(
      "p",
      { class: "pom" },
      el("output", { id: "pom" }, probability(pom)),
      el("span", { class: `call ${label}`, id: "label" }, `called ${label}${notSure ? ", not sure" : ""}`),
    ),
    gauge(pom, threshold),
    el(
      "p",
      { class: "small" },
      `Called malignant where POM is ${short(threshold)} or more. POM is ${answer.pom_means}. It is not a patient's risk.` +
        (answer.site ? ` The model itself says ${probability(answer.model_pom)}.` : ""),
    ),
    ...remarks(answer).map((text) => el("p", { class: "caveat" }, text)),
    el("h3", {}, "At this operating point"),
    ...rates(point),
  ];
}

/** One sentence for those who hear the page. */
export function spoken(answer, focus) {
  const alarming = alarmingOf(answer);
  const warned = alarming.length ? ` Warning: ${alarming.join("; ")}.` : "";
  return (
    `Probability of malignancy ${probability(answer.pom)}, called ${answer.label} at the operating point ` +
    `${short(answer.threshold)}. ${regionsInWords(focus)}.${warned}`
  );
}

/** Where the network looked, at the threshold that is set. */
export function regions(answer, focus, threshold) {
  const { explained_class: explained, constant_map: constant } = answer.localisation;
  if (constant) return el("p", {}, "The map is the same everywhere: it points nowhere, so there is no focus.");
  return [
    el(
      "p",
      { id: "focus-text" },
      `Focus: where the map of the class ${explained} reaches ${short(threshold)} of its range. ` +
        `${regionsInWords(focus)}, ${percent(focus.areaFraction)} of the image.`,
    ),
    focus.boxes.length > 0 && boxTable(focus.boxes, answer.image.spacing_mm),
    el(
      "p",
      { class: "small" },
      answer.image.spacing_mm
        ? "Sizes are of the focus, from the pixel spacing in the file. They do not measure a lesion."
        : "Sizes in mm are not known: the file does not state its pixel spacing. " +
            "A box holds the focus; it does not measure a lesion.",
    ),
  ];
}

/** What was read, by which model, in which time. */
export function facts(answer) {
  const { image, model, timing_ms: timing } = answer;
  const region = image.region_xyxy_px;
  const rows = [
    ["Image", `${image.format}, ${image.width_px} × ${image.height_px} px`],
    region && ["B-mode region", `x ${region[0]} to ${region[2]}, y ${region[1]} to ${region[3]} px of the stored image`],
    image.spacing_mm && ["Pixel spacing", `${image.spacing_mm.map(short).join(" × ")} mm (rows × columns)`],
    image.frames > 1 && ["Frame", `${image.frame + 1} of ${image.frames}`],
    ["Image ID", el("code", {}, answer.image_id)],
    ["Model", `${model.name}, version ${model.version}${model.role === "canary" ? " (canary)" : ""}`],
    ["Digest", el("code", { title: model.digest }, model.digest.slice(0, 12))],
    ["Engine", model.engine === "onnx" ? "ONNX Runtime" : model.engine],
    answer.ood_score != null &&
      answer.ood_threshold != null && [
        "Distance",
        `${short(answer.ood_score)} from the training images (usual: up to ${short(answer.ood_threshold)})`,
      ],
    ["Time", `${ms(timing.total)} ms (decoding ${ms(timing.decode)}, queue ${ms(timing.queue)}, network ${ms(timing.infer)})`],
  ];
  return el(
    "dl",
    { class: "facts" },
    rows.filter(Boolean).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
  );
}

function warnings(answer) {
  const { ood_score: score, ood_threshold: limit } = answer;
  const alarming = alarmingOf(answer);
  if (!alarming.length) return null;
  const far = score != null && limit != null && score > limit;
  return el(
    "section",
    { class: "warnings", "aria-label": "Warnings" },
    alarming.map((text) => el("p", {}, el("b", {}, sentence(text)))),
    far && el("p", {}, `Distance from the training images: ${short(score)}. Usual: up to ${short(limit)}.`),
  );
}

/** All that must be read beside the figures, as sentences. */
export const cautions = (answer) => [...alarmingOf(answer).map(sentence), ...remarks(answer)];

const alarmingOf = ({ warnings: all }) => all.filter((text) => !USUAL.test(text) && !ONE_FRAME.test(text));

function remarks({ warnings: all, image: { frame, frames } }) {
  const clip = frames > 1 ? [`Frame ${frame + 1} of ${frames}: the others were not looked at.`] : [];
  return [...clip, ...all.filter((text) => USUAL.test(text)).map(sentence)];
}

function rates(point) {
  if (point.split === null) return [el("p", {}, "The model card gives no sensitivity and specificity for this operating point.")];
  return [
    el(
      "dl",
      { class: "rates" },
      rate("Sensitivity", point.sensitivity, point.sensitivity_ci),
      rate("Specificity", point.specificity, point.specificity_ci),
    ),
    el(
      "p",
      { class: "small" },
      `Measured on the ${SETS[point.split] ?? `set “${point.split}”`}; 95 % intervals (Clopper-Pearson).`,
    ),
  ];
}

function boxTable(boxes, spacingMm) {
  const head = el(
    "tr",
    {},
    ["Box", "Width × height", spacingMm && "In mm", "From x, y"].map((text) => text && el("th", { scope: "col" }, text)),
  );
  const rows = boxes.map(([x0, y0, x1, y1], i) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, el("span", { class: "tag" }, String(i + 1))),
      el("td", {}, `${x1 - x0} × ${y1 - y0} px`),
      spacingMm && el("td", {}, `${((x1 - x0) * spacingMm[1]).toFixed(1)} × ${((y1 - y0) * spacingMm[0]).toFixed(1)}`),
      el("td", {}, `${x0}, ${y0}`),
    ),
  );
  return el("table", { class: "boxes" }, el("thead", {}, head), el("tbody", {}, rows));
}

function regionsInWords({ boxes }) {
  return boxes.length === 0 ? "No region" : boxes.length === 1 ? "One region" : `${boxes.length} regions`;
}

const ms = (value) => String(Math.round(value));
const percent = (share) => (share > 0 && share < 0.001 ? "under 0.1 %" : `${(100 * share).toFixed(1)} %`);
