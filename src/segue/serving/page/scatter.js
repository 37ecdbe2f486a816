// Ranks in one entry against ranks in another, on logarithmic scales: below the diagonal the second is better.

import { el, svg } from "./dom.js";

const SIZE = 360, LEFT = 46, LOW = 40, TOP = 10, RIGHT = 10;

export function drawScatter(points, [first, second]) {
  const most = Math.max(10, ...points.flat()), top = Math.log10(most) * 1.02;
  const x = (rank) => LEFT + (Math.log10(rank) / top) * (SIZE - LEFT - RIGHT);
  const y = (rank) => SIZE - LOW - (Math.log10(rank) / top) * (SIZE - LOW - TOP);
  const ticks = [...Array(Math.floor(top) + 1).keys()].map((power) => 10 ** power);
  const better = points.filter(([a, b]) => b < a).length, worse = points.filter(([a, b]) => b > a).length;
  return el("figure", { class: "scatter" }, svg("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img",
    "aria-label": `Ranks of ${points.length} windows: the second entry ranks ${better} better and ${worse} worse than the first` },
    ticks.map((tick) => [
      svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: TOP, y2: SIZE - LOW }), svg("line", { class: "grid", x1: LEFT, x2: SIZE - RIGHT, y1: y(tick), y2: y(tick) }),
      svg("text", { x: x(tick), y: SIZE - LOW + 14, "text-anchor": "middle" }, tick.toLocaleString("en")), svg("text", { x: LEFT - 6, y: y(tick), dy: "0.35em", "text-anchor": "end" }, tick.toLocaleString("en"))]),
    svg("line", { class: "diagonal", x1: x(1), y1: y(1), x2: x(10 ** top), y2: y(10 ** top) }),
    points.map(([a, b]) => svg("circle", { cx: x(a).toFixed(1), cy: y(b).toFixed(1), r: 2.4, class: b < a ? "better" : b > a ? "worse" : "same" })),
    svg("text", { x: (LEFT + SIZE - RIGHT) / 2, y: SIZE - 6, "text-anchor": "middle", class: "axis" }, `rank in ${first}`),
    svg("text", { x: 11, y: (TOP + SIZE - LOW) / 2, "text-anchor": "middle", class: "axis", transform: `rotate(-90 11 ${(TOP + SIZE - LOW) / 2})` }, `rank in ${second}`)),
    el("figcaption", {}, `Every point is a window${points.length >= 1500 ? ` (${points.length.toLocaleString("en")} of them, evenly spread)` : ""}; below the line the second entry ranks better.`));
}
