/** The colour scale as it looks on the image: on mid grey, at the opacity that is set, with the threshold marked. */

import { colourOf } from "./colour.js";
import { MARK } from "./overlay.js";

const TISSUE = 96; // a mean grey of such images

/** Fill a canvas on the page with the scale. */
export function drawLegend(canvas, { opacity, threshold }) {
  const ratio = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: Math.round(canvas.clientWidth * ratio), height: Math.round(14 * ratio) });
  paintLegend(canvas.getContext("2d"), {
    left: 0,
    top: 0,
    width: canvas.width,
    height: canvas.height,
    unit: ratio,
    opacity,
    threshold,
  });
}

/** Paint the scale into a rectangle; `unit` is the width of a fine line. */
export function paintLegend(context, { left, top, width, height, unit, opacity, threshold }) {
  for (let x = 0; x < width; x += 1) {
    const [r, g, b, alpha] = colourOf(x / Math.max(1, width - 1));
    context.fillStyle = `rgb(${TISSUE} ${TISSUE} ${TISSUE})`;
    context.fillRect(left + x, top, 1, height);
    context.fillStyle = `rgb(${r} ${g} ${b} / ${(opacity * alpha) / 255})`;
    context.fillRect(left + x, top, 1, height);
  }
  const at = left + threshold * (width - 1);
  context.fillStyle = "#000";
  context.fillRect(at - 2 * unit, top, 4 * unit, height);
  context.fillStyle = MARK;
  context.fillRect(at - unit, top, 2 * unit, height);
}
