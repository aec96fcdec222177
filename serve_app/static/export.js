/** Export: the two views as one PNG with legend, POM and disclaimer burnt in; the answer as JSON. */

import { probability, short } from "./gauge.js";
import { paintLegend } from "./legend.js";
import { drawOverlay } from "./overlay.js";
import { cautions } from "./result.js";

const MARGIN = 24;
const [HEAD, FOOT, LINE] = [88, 118, 24]; // HEAD without cautions, which take a LINE each
const [LEAST_PX, MOST_PX] = [520, 1600]; // width of one view
const WARNING = "#ffcf5c";
const FONT = "system-ui, 'Segoe UI', 'Liberation Sans', Arial, sans-serif";

/**
 * Draw the export.
 *
 * @param {{answer: object, image: HTMLImageElement, heat: OffscreenCanvas, focus: object, threshold: number, opacity: number}}
 *   shown what the page shows.
 * @returns {Promise<Blob>} a PNG.
 */
export function overlayPng(shown) {
  const { naturalWidth, naturalHeight } = shown.image;
  const scale = Math.min(MOST_PX, Math.max(LEAST_PX, naturalWidth)) / naturalWidth;
  const view = { width: Math.round(naturalWidth * scale), height: Math.round(naturalHeight * scale), scale };
  const head = HEAD + LINE * cautions(shown.answer).length;
  const canvas = new OffscreenCanvas(2 * view.width + 3 * MARGIN, head + view.height + FOOT);
  const context = canvas.getContext("2d");
  context.fillStyle = "#17181a";
  context.fillRect(0, 0, canvas.width, canvas.height);
  drawHead(context, shown);
  drawView(context, shown, view, [MARGIN, head], false);
  drawView(context, shown, view, [2 * MARGIN + view.width, head], true);
  drawFoot(context, shown, 2 * MARGIN + view.width, head + view.height);
  return canvas.convertToBlob({ type: "image/png" });
}

/** An answer as it was received, but for the pictures in it: the image itself stays where it was. */
export function answerJson(answer) {
  const withoutPictures = { ...answer, cam: null, image: { ...answer.image, png: null } };
  return new Blob([JSON.stringify(withoutPictures, null, 1)], { type: "application/json" });
}

/** A file name from the upload's digest, never from its own name. */
export function nameFor(answer, ending) {
  const frame = answer.image.frames > 1 ? `-frame${answer.image.frame + 1}` : "";
  return `${answer.image_id}${frame}-${ending}`;
}

/** Hand a file to the browser's downloads. */
export function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  Object.assign(link, { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function drawHead(context, { answer }) {
  const { operating_point: point } = answer;
  write(context, `POM ${probability(answer.pom)}, called ${answer.label}`, MARGIN, 44, `600 28px ${FONT}`, "#fff");
  const rate = (name, value, ci) =>
    value === null ? "" : `, ${name} ${value.toFixed(2)}${ci ? ` (${ci.map((v) => v.toFixed(2)).join("–")})` : ""}`;
  const measured = point.split === null ? "" : ` on the ${point.split} set`;
  write(
    context,
    `Operating point ${short(answer.threshold)}${rate("sensitivity", point.sensitivity, point.sensitivity_ci)}` +
      `${rate("specificity", point.specificity, point.specificity_ci)}${measured}`,
    MARGIN,
    70,
    `15px ${FONT}`,
  );
  cautions(answer).forEach((text, i) => write(context, text, MARGIN, 94 + LINE * i, `600 15px ${FONT}`, WARNING));
}

function drawView(context, shown, view, [left, top], isOverlay) {
  context.save();
  context.translate(left, top);
  context.scale(view.scale, view.scale);
  context.imageSmoothingQuality = "high";
  context.drawImage(shown.image, 0, 0);
  context.beginPath();
  context.rect(0, 0, shown.image.naturalWidth, shown.image.naturalHeight);
  context.clip();
  if (isOverlay) drawOverlay(context, shown, { opacity: shown.opacity, marks: true, unit: 1.2 / view.scale });
  context.restore();
}

function drawFoot(context, { answer, threshold, opacity }, right, top) {
  const { model, localisation, image } = answer;
  const frame = image.frames > 1 ? `, frame ${image.frame + 1} of ${image.frames}` : "";
  write(context, `Decoded image, ${image.width_px} × ${image.height_px} px${frame}`, MARGIN, top + 24);
  write(context, "0", right, top + 24);
  paintLegend(context, { left: right + 16, top: top + 12, width: 220, height: 14, unit: 1, opacity, threshold });
  write(context, "1", right + 242, top + 24);
  write(
    context,
    `map of the class ${localisation.explained_class}; outline at ${short(threshold)}; opacity ${Math.round(100 * opacity)} %`,
    right,
    top + 56,
  );
  write(
    context,
    `${model.name}, version ${model.version}, ${model.digest.slice(0, 12)}; image ${answer.image_id}`,
    MARGIN,
    top + 56,
  );
  write(context, answer.disclaimer, MARGIN, top + 96, `600 18px ${FONT}`, WARNING);
}

function write(context, text, x, y, font = `14px ${FONT}`, colour = "#d4d7dc") {
  context.font = font;
  context.fillStyle = colour;
  context.fillText(text, x, y, context.canvas.width - x - MARGIN); // a longer line is set narrower, never cut
}
