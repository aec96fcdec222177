/** Export: the two views as one PNG with legend, POM and disclaimer burnt in; the answer as JSON. */

import { INFERNO } from "./colour.js";
import { drawOverlay } from "./overlay.js";
import { probability, short } from "./gauge.js";

const MARGIN = 24;
const [HEAD, FOOT] = [112, 118];
const [LEAST_PX, MOST_PX] = [520, 1600]; // width of one view
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
  const canvas = new OffscreenCanvas(2 * view.width + 3 * MARGIN, HEAD + view.height + FOOT);
  const context = canvas.getContext("2d");
  context.fillStyle = "#17181a";
  context.fillRect(0, 0, canvas.width, canvas.height);
  drawHead(context, shown);
  drawView(context, shown, view, MARGIN, false);
  drawView(context, shown, view, 2 * MARGIN + view.width, true);
  drawFoot(context, shown, canvas, HEAD + view.height);
  return canvas.convertToBlob({ type: "image/png" });
}

/** An answer as it was received, but for the pictures in it: the image itself stays where it was. */
export function answerJson(answer) {
  const { png: _image, ...image } = answer.image;
  return new Blob([JSON.stringify({ ...answer, cam: null, image }, null, 1)], { type: "application/json" });
}

/** A file name from the upload's digest, never from its own name. */
export function nameFor(answer, ending) {
  const frame = answer.image.frames > 1 ? `-frame${answer.image.frame}` : "";
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
  const rate = (name, value, ci) => (value === null ? "" : `, ${name} ${value.toFixed(2)}${ci ? ` (${ci.map((v) => v.toFixed(2)).join("–")})` : ""}`);
  const measured = point.split === null ? "" : ` on the ${point.split} set`;
  write(
    context,
    `Operating point ${short(answer.threshold)}${rate("sensitivity", point.sensitivity, point.sensitivity_ci)}` +
      `${rate("specificity", point.specificity, point.specificity_ci)}${measured}`,
    MARGIN,
    70,
    `15px ${FONT}`,
  );
  write(context, answer.warnings.length ? `Warning: ${answer.warnings.join("; ")}` : "", MARGIN, 94, `600 15px ${FONT}`, "#ffcf5c");
}

function drawView(context, shown, view, left, isOverlay) {
  context.save();
  context.translate(left, HEAD);
  context.scale(view.scale, view.scale);
  context.imageSmoothingQuality = "high";
  context.drawImage(shown.image, 0, 0);
  context.beginPath();
  context.rect(0, 0, shown.image.naturalWidth, shown.image.naturalHeight);
  context.clip();
  if (isOverlay) drawOverlay(context, shown, { opacity: shown.opacity, marks: true, unit: 1.2 / view.scale });
  context.restore();
}

function drawFoot(context, { answer, threshold, opacity }, { width }, top) {
  const { model, localisation, image } = answer;
  const right = MARGIN * 2 + (width - 3 * MARGIN) / 2;
  write(context, `Decoded image, ${image.width_px} × ${image.height_px} px`, MARGIN, top + 24);
  drawLegend(context, { left: right, top: top + 12, width: 200, threshold });
  write(
    context,
    `map of the class ${localisation.explained_class}; outline at ${short(threshold)}; opacity ${Math.round(100 * opacity)} %`,
    right,
    top + 56,
  );
  write(context, `${model.name}, version ${model.version}, ${model.digest.slice(0, 12)}; image ${answer.image_id}`, MARGIN, top + 56);
  write(context, answer.disclaimer, MARGIN, top + 96, `600 18px ${FONT}`, "#ffcf5c");
}

function drawLegend(context, { left, top, width, threshold }) {
  INFERNO.forEach(([r, g, b], i) => {
    context.fillStyle = `rgb(${r} ${g} ${b})`;
    context.fillRect(left + 14 + (i * width) / 256, top, width / 256 + 1, 14);
  });
  context.fillStyle = "#50dcff";
  context.fillRect(left + 14 + threshold * width - 1, top - 4, 2, 22);
  write(context, "0", left, top + 12);
  write(context, "1", left + width + 20, top + 12);
}

function write(context, text, x, y, font = `14px ${FONT}`, colour = "#d4d7dc") {
  context.font = font;
  context.fillStyle = colour;
  context.fillText(text, x, y);
}
