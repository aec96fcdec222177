/**
 * Two views of one image, always at the same zoom and place: the untouched grey image, and the image with the map.
 * What is drawn is the image as the server decoded it, which is what the network saw.
 */

import { drawOverlay, heatCanvas } from "./overlay.js";

const MAX_ZOOM = 16;
const SMOOTH_BELOW = 4; // screen pixels per image pixel; beyond, pixels are shown as squares
const SCALE_BAR_MM = [1, 2, 5, 10, 20, 50];

export class Viewer {
  /**
   * @param {{grey: HTMLCanvasElement, overlay: HTMLCanvasElement}} canvases of the same size on the page.
   * @param {(viewer: Viewer) => void} changed called after zoom or place have changed.
   */
  constructor({ grey, overlay }, changed) {
    this.canvases = { grey, overlay };
    this.changed = changed;
    this.look = { opacity: 0.6, marks: true, greyOnly: false };
    this.clear();
    new ResizeObserver(() => (this.image ? this.#moveTo(this.place.x, this.place.y) : this.redraw())).observe(grey);
  }

  clear() {
    Object.assign(this, { image: null, heat: null, focus: null, spacingMm: null, pointer: null });
    this.place = { zoom: 1, x: 0, y: 0 };
    this.redraw();
  }

  /** Show another image. Zoom and place stay where its size is that of the one before: another frame, another map. */
  show({ image, map, spacingMm }) {
    const same = this.image && this.width === image.naturalWidth && this.height === image.naturalHeight;
    Object.assign(this, { image, heat: heatCanvas(map), spacingMm });
    if (!same) this.fit();
    this.redraw();
  }

  /** What `localise` found. */
  mark(focus) {
    this.focus = focus;
    this.redraw();
  }

  setLook(change) {
    Object.assign(this.look, change);
    this.redraw();
  }

  get width() {
    return this.image.naturalWidth;
  }

  get height() {
    return this.image.naturalHeight;
  }

  /** CSS pixels per image pixel at which the whole image fits. */
  get fitScale() {
    const { clientWidth, clientHeight } = this.canvases.grey;
    return Math.min(clientWidth / this.width, clientHeight / this.height);
  }

  get scale() {
    return this.fitScale * this.place.zoom;
  }

  fit() {
    this.place = { zoom: 1, x: this.width / 2, y: this.height / 2 };
    this.#moved();
  }

  /** Zoom by a factor about a point of the view in CSS pixels; about its centre by default. */
  zoomBy(factor, at = null) {
    if (!this.image) return;
    const { clientWidth, clientHeight } = this.canvases.grey;
    const [dx, dy] = at ? [at.x - clientWidth / 2, at.y - clientHeight / 2] : [0, 0];
    const before = this.scale;
    this.place.zoom = Math.min(MAX_ZOOM, Math.max(1, this.place.zoom * factor));
    const shift = 1 / before - 1 / this.scale;
    this.#moveTo(this.place.x + dx * shift, this.place.y + dy * shift);
  }

  /** Move the image by CSS pixels. */
  panBy(dx, dy) {
    if (this.image) this.#moveTo(this.place.x - dx / this.scale, this.place.y - dy / this.scale);
  }

  /** Show where the pointer is, in both views; `at` in CSS pixels of a view, null where there is none. */
  point(at) {
    this.pointer = at && this.image ? this.#toImage(at) : null;
    this.redraw();
  }

  redraw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = null;
      this.#draw(this.canvases.grey, false);
      this.#draw(this.canvases.overlay, true);
    });
  }

  #toImage({ x, y }) {
    const { clientWidth, clientHeight } = this.canvases.grey;
    return { x: this.place.x + (x - clientWidth / 2) / this.scale, y: this.place.y + (y - clientHeight / 2) / this.scale };
  }

  /** The image covers the view where it is larger than it, and lies in its middle where it is smaller. */
  #moveTo(x, y) {
    const { clientWidth, clientHeight } = this.canvases.grey;
    this.place.x = clamp(x, this.width, clientWidth / this.scale);
    this.place.y = clamp(y, this.height, clientHeight / this.scale);
    this.#moved();
  }

  #moved() {
    this.changed(this);
    this.redraw();
  }

  #draw(canvas, isOverlay) {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.resetTransform();
    context.clearRect(0, 0, width, height);
    if (!this.image) return;
    const scale = this.scale * ratio;
    context.setTransform(scale, 0, 0, scale, width / 2 - this.place.x * scale, height / 2 - this.place.y * scale);
    context.imageSmoothingEnabled = scale < SMOOTH_BELOW * ratio;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.image, 0, 0);
    const covered = isOverlay && !this.look.greyOnly;
    if (covered) drawOverlay(context, this, { unit: ratio / scale, ...this.look });
    if (this.pointer) drawCross(context, this.pointer, ratio / scale);
    if (covered && this.spacingMm) drawScaleBar(context, { width, height, ratio, pxPerMm: scale / this.spacingMm[1] });
  }
}

function clamp(centre, size, seen) {
  return seen >= size ? size / 2 : Math.min(size - seen / 2, Math.max(seen / 2, centre));
}

function drawCross(context, { x, y }, unit) {
  context.beginPath();
  for (const [dx, dy] of [
    [1, 0],
    [-1, 0],
    [0, 1],
    [0, -1],
  ]) {
    context.moveTo(x + 4 * dx * unit, y + 4 * dy * unit);
    context.lineTo(x + 12 * dx * unit, y + 12 * dy * unit);
  }
  context.lineWidth = 1.2 * unit;
  context.strokeStyle = "rgb(255 255 255 / 85%)";
  context.stroke();
}

/** A bar of a round length, at most a third of the view, at the lower right. */
function drawScaleBar(context, { width, height, ratio, pxPerMm }) {
  const lengthMm = SCALE_BAR_MM.findLast((mm) => mm * pxPerMm < width / 3) ?? SCALE_BAR_MM[0];
  const [right, bottom] = [width - 14 * ratio, height - 14 * ratio];
  context.resetTransform();
  context.beginPath();
  context.moveTo(right - lengthMm * pxPerMm, bottom - 4 * ratio);
  context.lineTo(right - lengthMm * pxPerMm, bottom);
  context.lineTo(right, bottom);
  context.lineTo(right, bottom - 4 * ratio);
  haloed(context, 1.5 * ratio, "#fff");
  context.font = `${12 * ratio}px system-ui, sans-serif`;
  context.textAlign = "right";
  context.lineWidth = 3 * ratio;
  context.strokeStyle = "rgb(0 0 0 / 70%)";
  context.strokeText(`${lengthMm} mm`, right, bottom - 8 * ratio);
  context.fillStyle = "#fff";
  context.fillText(`${lengthMm} mm`, right, bottom - 8 * ratio);
}

function haloed(context, width, colour) {
  context.lineWidth = 2.4 * width;
  context.strokeStyle = "rgb(0 0 0 / 70%)";
  context.stroke();
  context.lineWidth = width;
  context.strokeStyle = colour;
  context.stroke();
}
