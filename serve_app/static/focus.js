/**
 * The class activation map in the browser, cut at a threshold: the rule of wsus/inference/localise.py.
 *
 * The map comes as an 8-bit PNG. A value v says that M' lies in [v / 200, (v + 1) / 200), so that a cut at any
 * multiple of 0.005 is exact and gives the server's own boxes.
 */

export const LEVELS = 200;

/**
 * Decode the PNG of a map.
 *
 * @param {CanvasImageSource & {naturalWidth: number, naturalHeight: number}} image
 * @returns {{width: number, height: number, values: Uint8Array}} row by row.
 */
export function readLevels(image) {
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
  const values = new Uint8Array(width * height);
  for (let i = 0; i < values.length; i += 1) values[i] = data[4 * i];
  return { width, height, values };
}

/**
 * Cut a map: pixels at or above the threshold, their 8-connected components, the largest first.
 *
 * @returns {{boxes: number[][], areaFraction: number, outline: Path2D}} boxes half-open (x0, y0, x1, y1) in pixels; the
 *   outline smooth, between the pixels' centres.
 */
export function localise(map, threshold) {
  const level = Math.max(1, Math.round(threshold * LEVELS));
  const components = componentsOf(runsOf(map, level));
  const pixels = components.reduce((sum, { size }) => sum + size, 0);
  return {
    boxes: components.map(({ box }) => box),
    areaFraction: pixels / (map.width * map.height),
    outline: outlineOf(map, level),
  };
}

/** Horizontal runs {y, start, end} of pixels at or above a level, row by row; `end` is exclusive. */
function runsOf({ width, height, values }, level) {
  const runs = [];
  for (let y = 0; y < height; y += 1) {
    const row = y * width;
    for (let x = 0; x < width; x += 1) {
      if (values[row + x] < level) continue;
      const start = x;
      while (x < width && values[row + x] >= level) x += 1;
      runs.push({ y, start, end: x });
    }
  }
  return runs;
}

/** Join runs of neighbouring rows that touch, corners included. A component is named by its first run. */
function componentsOf(runs) {
  const parent = runs.map((_, i) => i);
  const rootOf = (i) => {
    while (parent[i] !== i) i = parent[i] = parent[parent[i]];
    return i;
  };
  let above = 0; // the first run that may still touch the present one from the row above
  runs.forEach((run, i) => {
    while (runs[above].y < run.y - 1 || (runs[above].y === run.y - 1 && runs[above].end < run.start)) above += 1;
    for (let j = above; runs[j].y === run.y - 1 && runs[j].start <= run.end; j += 1) {
      const [first, second] = [rootOf(i), rootOf(j)].sort((a, b) => a - b);
      parent[second] = first;
    }
  });
  const found = new Map();
  runs.forEach(({ y, start, end }, i) => {
    const root = rootOf(i);
    const { size, box } = found.get(root) ?? { size: 0, box: [start, y, end, y + 1] };
    found.set(root, {
      size: size + end - start,
      box: [Math.min(box[0], start), Math.min(box[1], y), Math.max(box[2], end), Math.max(box[3], y + 1)],
    });
  });
  const inOrder = [...found.entries()].sort(([a], [b]) => a - b).map(([, component]) => component);
  return inOrder.sort((a, b) => b.size - a.size); // a stable sort: equal sizes stay in reading order
}

/**
 * The line along which the map crosses a level, between the pixels' centres (marching squares). Where only the corners of
 * two pixels touch they are joined, as in the components; beyond the image the map counts as below the level.
 */
function outlineOf({ width, height, values }, level) {
  const path = new Path2D();
  const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? level - 1 : values[y * width + x]);
  for (let y = -1; y < height; y += 1) {
    for (let x = -1; x < width; x += 1) {
      const count = (at(x, y) >= level) + (at(x + 1, y) >= level) + (at(x + 1, y + 1) >= level) + (at(x, y + 1) >= level);
      if (count === 0 || count === 4) continue;
      const points = crossings(
        x,
        y,
        CORNERS.map(([dx, dy]) => at(x + dx, y + dy)),
        level,
      );
      for (let i = 0; i < points.length; i += 2) {
        path.moveTo(...points[i]);
        path.lineTo(...points[i + 1]);
      }
    }
  }
  return path;
}

const CORNERS = [
  [0, 0],
  [1, 0],
  [1, 1],
  [0, 1],
];

/** Where the line enters and leaves the square between four pixels' centres; two pairs where it passes twice. */
function crossings(x, y, corners, level) {
  const points = [];
  for (let from = 0; from < 4; from += 1) {
    const to = (from + 1) % 4;
    if (corners[from] >= level === corners[to] >= level) continue;
    const share = (level - 0.5 - corners[from]) / (corners[to] - corners[from]);
    const [[x0, y0], [x1, y1]] = [CORNERS[from], CORNERS[to]];
    points.push([x + 0.5 + x0 + share * (x1 - x0), y + 0.5 + y0 + share * (y1 - y0)]);
  }
  if (points.length === 4 && corners[0] < level) points.push(points.shift()); // twice: round each of the two low corners
  return points;
}
