/** The colour scale as it looks on the image: on mid grey, at the opacity that is set, with the threshold marked. */

import { colourOf } from "./colour.js";

const TISSUE = 96; // a mean grey of such images

export function drawLegend(canvas, { opacity, threshold }) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(14 * ratio)];
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = `rgb(${TISSUE} ${TISSUE} ${TISSUE})`;
  context.fillRect(0, 0, width, height);
  for (let x = 0; x < width; x += 1) {
    const [r, g, b, alpha] = colourOf(x / Math.max(1, width - 1));
    context.fillStyle = `rgb(${r} ${g} ${b} / ${(opacity * alpha) / 255})`;
    context.fillRect(x, 0, 1, height);
  }
  const at = threshold * (width - 1);
  context.fillStyle = "#000";
  context.fillRect(at - 2 * ratio, 0, 4 * ratio, height);
  context.fillStyle = "#50dcff";
  context.fillRect(at - ratio, 0, 2 * ratio, height);
}
