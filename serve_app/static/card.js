/** The model card in a dialog: intended use and limits first, then the figures, then everything as JSON. */

import { byId, el } from "./dom.js";
import { short } from "./gauge.js";

const SETS = ["internal", "external", "development"];

/** Fill the dialog with a card. */
export function showCard(card, served) {
  byId("card-body").replaceChildren(
    el("h2", { id: "card-title" }, `Model card: ${card.name}`),
    el("p", { class: "small" }, served.map((one) => `Version ${one.version} (${one.role}), engine ${one.engine}`).join("; ")),
    el("h3", {}, "Intended use"),
    el("p", {}, card.intended_use),
    el("h3", {}, "Limits"),
    el(
      "ul",
      {},
      card.limits.map((limit) => el("li", {}, limit)),
    ),
    el("h3", {}, "How it was made"),
    facts(card),
    el("h3", {}, "Figures"),
    figures(card.figures),
    card.sites.length > 0 && el("h3", {}, "Sites"),
    ...card.sites.map(site),
    el("details", {}, el("summary", {}, "The whole card (JSON)"), el("pre", { tabindex: "0" }, JSON.stringify(card, null, 1))),
  );
}

function facts(card) {
  const rows = [
    ["Supervision", { weak: "weak: whole images and their labels, no region of interest" }[card.mode] ?? card.mode],
    ["Network", `${card.net.backbone}, head ${card.net.head}, stride ${card.net.stride}`],
    [
      "Input",
      `${card.crop.size_px} × ${card.crop.size_px} px, image ${card.crop.fit === "pad" ? "padded" : "stretched"} to a square`,
    ],
    ["Operating point", `malignant where POM is ${short(card.operating_point)} or more`],
    ["Map threshold", `${short(card.cam_threshold)} of the map's range`],
    card.training.study && ["Study", `${card.training.study}, seed ${card.training.seed}`],
    card.training.manifest_digest && ["Data digest", el("code", {}, String(card.training.manifest_digest))],
  ];
  return el(
    "dl",
    { class: "facts" },
    rows.filter(Boolean).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
  );
}

/** One row per set; figures that are no set (a development AUC, say) stand in the JSON. */
function figures(all) {
  const sets = SETS.filter((name) => all[name]?.sensitivity && all[name]?.specificity).map((name) => [name, all[name]]);
  if (!sets.length) return el("p", {}, "The card holds no validation figures.");
  const columns = ["Set", "Images (malignant)", "AUC", "Sensitivity", "Specificity"];
  const rows = sets.map(([name, set]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, name),
      el("td", {}, set.n ? `${set.n} (${set.n_malignant})` : "–"),
      [set.auc, set.sensitivity, set.specificity].map((figure) => el("td", {}, withInterval(figure))),
    ),
  );
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Figures of the model" },
    el(
      "table",
      {},
      el("caption", {}, "With 95 % intervals; sensitivity and specificity at the operating point."),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          columns.map((text) => el("th", { scope: "col" }, text)),
        ),
      ),
      el("tbody", {}, rows),
    ),
  );
}

/** A site's profile: calibration and rates by the model itself, and by the profile. */
function site({ site: name, images, scaling, operating_point: point, rule, prevalence, before, after }) {
  const number = (value) => (value == null ? "–" : value.toFixed(2));
  const rows = [
    ["AUC", "auc", withInterval],
    ["Calibration slope", "slope", number],
    ["Calibration in the large", "in_the_large", number],
    ["Brier score", "brier", number],
    ["Sensitivity", "sensitivity", withInterval],
    ["Specificity", "specificity", withInterval],
  ].map(([title, key, words]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, title),
      [before, after].map((figuresOf) => el("td", {}, words(figuresOf[key]))),
    ),
  );
  const caption =
    `${name}: ${scaling.method} scaling on ${images.n} images (${images.n_malignant} malignant), malignant from ` +
    `${short(point)} (${rule}); a probability where ${short(100 * prevalence)} % of those examined have cancer.`;
  const head = ["", "By the model", "By the profile, cross-fitted"].map((text) => el("th", { scope: "col" }, text));
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": `Calibration for ${name}` },
    el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)),
  );
}

function withInterval(figure) {
  if (figure?.value == null) return "–";
  const interval = figure.ci ? ` (${figure.ci.map((end) => end.toFixed(2)).join("–")})` : "";
  return `${figure.value.toFixed(2)}${interval}`;
}
