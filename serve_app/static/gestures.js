/** Wheel, drag, pinch and arrow keys on the two views; every one moves both. */

const STEP_PX = 40;
const KEY_ZOOM = 1.25;

/** Let a view be moved by pointer and wheel. Its position on the page is read anew at each event. */
export function listen(canvas, viewer) {
  const pointers = new Map();
  const at = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };

  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!viewer.image) return;
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      viewer.zoomBy(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0018)), at(event));
    },
    { passive: false },
  );
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = at(event);
    if (event.pointerType !== "touch") viewer.point(now);
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    pointers.set(event.pointerId, now);
    if (other) pinch(viewer, before, now, other);
    else viewer.panBy(now.x - before.x, now.y - before.y);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
  canvas.addEventListener("pointerleave", () => viewer.point(null));
}

/** Arrow keys, where the views have the focus. */
export function listenToArrows(stage, viewer) {
  const steps = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  stage.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step || event.target !== stage) return;
    event.preventDefault();
    viewer.panBy(step[0] * STEP_PX, step[1] * STEP_PX);
  });
}

export const zoomIn = (viewer) => viewer.zoomBy(KEY_ZOOM);
export const zoomOut = (viewer) => viewer.zoomBy(1 / KEY_ZOOM);

/** One of two fingers has moved: zoom by the change of their distance, and follow their middle. */
function pinch(viewer, before, now, other) {
  const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
  const middle = (a) => ({ x: (a.x + other.x) / 2, y: (a.y + other.y) / 2 });
  viewer.zoomBy(distance(now, other) / Math.max(1, distance(before, other)), middle(now));
  viewer.panBy(middle(now).x - middle(before).x, middle(now).y - middle(before).y);
}
