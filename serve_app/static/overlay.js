/** The map in colour, the outline of its focus and the boxes, drawn in the image's pixels. On screen and in the export. */

import { colourOf } from "./colour.js";
import { LEVELS } from "./focus.js";

export const MARK = "#50dcff"; // the one hue that neither tissue nor inferno holds
const HALO = "rgb(0 0 0 / 75%)";

/** The map as a picture of its own, drawn once; its opacity grows with its value. */
export function heatCanvas({ width, height, values }) {
  const colours = Array.from({ length: LEVELS + 1 }, (_, level) => colourOf(level / LEVELS));
  const table = new Uint32Array(new Uint8Array(colours.flat()).buffer); // four bytes at once
  const picture = new ImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  for (let i = 0; i < pixels.length; i += 1) pixels[i] = table[values[i]];
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

/**
 * Draw over an image that already stands in the context.
 *
 * @param {{heat: OffscreenCanvas, focus: {boxes: number[][], outline: Path2D} | null}} found
 * @param {{opacity: number, marks: boolean, unit: number}} look unit: image pixels per CSS pixel, for lines of a fixed width.
 */
export function drawOverlay(context, { heat, focus }, { opacity, marks, unit }) {
  context.save();
  context.globalAlpha = opacity;
  context.imageSmoothingEnabled = true; // the map is smooth by nature
  context.drawImage(heat, 0, 0);
  context.globalAlpha = 1;
  if (focus && marks) drawMarks(context, focus, unit);
  context.restore();
}

function drawMarks(context, focus, unit) {
  context.lineJoin = context.lineCap = "round";
  strokeTwice(context, (width) => withWidth(context, width, () => context.stroke(focus.outline)), 1.6 * unit);
  context.setLineDash([5 * unit, 4 * unit]);
  focus.boxes.forEach((box) => drawBox(context, box, unit));
  context.setLineDash([]);
  focus.boxes.forEach(([x0, y0], i) => drawNumber(context, i + 1, x0, y0, unit));
}

function drawBox(context, [x0, y0, x1, y1], unit) {
  withWidth(context, 1.2 * unit, () => {
    context.strokeStyle = MARK;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  });
}

function drawNumber(context, number, x, y, unit) {
  const [width, height] = [(8 + 7 * String(number).length) * unit, 16 * unit];
  const top = Math.max(0, y - height);
  context.fillStyle = MARK;
  context.fillRect(x, top, width, height);
  context.fillStyle = "#06222b";
  context.font = `600 ${12 * unit}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(String(number), x + width / 2, top + height / 2 + 0.5 * unit);
  context.textBaseline = "alphabetic";
}

/** A bright line on a dark one shows on every tissue. */
function strokeTwice(context, stroke, width) {
  context.strokeStyle = HALO;
  stroke(2.2 * width);
  context.strokeStyle = MARK;
  stroke(width);
}

function withWidth(context, width, draw) {
  context.lineWidth = width;
  draw();
}
