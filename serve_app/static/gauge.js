/** POM on a scale from 0 to 1 with the operating point, and rates with their intervals. */

import { el, svg } from "./dom.js";

const WIDTH = 300;
const PAD = 6;
const xOf = (value) => PAD + value * (WIDTH - 2 * PAD);

/** A probability in three digits that never rounds to a certainty. */
export function probability(value) {
  if (value > 0 && value < 0.001) return "< 0.001";
  if (value < 1 && value > 0.999) return "> 0.999";
  return value.toFixed(3);
}

/** A threshold as it was set: 0.5, 0.35, 0.333. */
export const short = (value) => String(Number(value.toFixed(3)));

/** The gauge: benign to the left of the operating point, malignant at it and to its right. */
export function gauge(pom, threshold) {
  const [x, cut] = [xOf(pom), xOf(threshold)];
  return svg(
    "svg",
    {
      class: "gauge",
      viewBox: `0 0 ${WIDTH} 62`,
      role: "meter",
      "aria-valuemin": 0,
      "aria-valuemax": 1,
      "aria-valuenow": pom.toFixed(3),
      "aria-valuetext": `${probability(pom)}; the operating point is ${short(threshold)}`,
      "aria-label": "Probability of malignancy",
    },
    svg("rect", { class: "below", x: xOf(0), y: 24, width: cut - xOf(0), height: 10 }),
    svg("rect", { class: "above", x: cut, y: 24, width: xOf(1) - cut, height: 10 }),
    svg("line", { class: "cut", x1: cut, x2: cut, y1: 18, y2: 40 }),
    svg("path", { class: "needle", d: `M${x} 25 l-6.5 -11 h13 z` }),
    svg("line", { class: "needle-line", x1: x, x2: x, y1: 24, y2: 34 }),
    threshold > 0.06 && svg("text", { class: "end", x: xOf(0), y: 54, "text-anchor": "start" }, "0"),
    svg("text", { class: "cut-label", x: cut, y: 54, "text-anchor": anchorOf(threshold) }, `operating point ${short(threshold)}`),
    threshold < 0.94 && svg("text", { class: "end", x: xOf(1), y: 54, "text-anchor": "end" }, "1"),
  );
}

/** A rate with its 95 % interval in figures and as a line; `null` is said in words. */
export function rate(name, value, interval) {
  if (value === null) return el("div", { class: "rate" }, el("dt", {}, name), el("dd", {}, "not on the model card"));
  const figures = interval ? ` (${interval.map((end) => end.toFixed(2)).join(" to ")})` : "";
  return el(
    "div",
    { class: "rate" },
    el("dt", {}, name),
    el("dd", {}, el("b", {}, value.toFixed(2)), figures, whisker(value, interval)),
  );
}

function whisker(value, interval) {
  const [low, high] = interval ?? [value, value];
  return svg(
    "svg",
    { class: "whisker", viewBox: `0 0 ${WIDTH} 12`, "aria-hidden": "true" },
    svg("line", { class: "axis", x1: xOf(0), x2: xOf(1), y1: 6, y2: 6 }),
    svg("line", { class: "interval", x1: xOf(low), x2: xOf(high), y1: 6, y2: 6 }),
    svg("circle", { class: "dot", cx: xOf(value), cy: 6, r: 4 }),
  );
}

const anchorOf = (value) => (value < 0.28 ? "start" : value > 0.72 ? "end" : "middle");
