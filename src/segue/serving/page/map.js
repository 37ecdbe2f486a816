// What was read, the prediction and the candidates in a plane (the server's two principal components).

import { el, show, svg } from "./dom.js";

const WIDTH = 520, HEIGHT = 380, MARGIN = 26, NUMBERED = 5;

export function showMap(place, answer) {
  if (!answer.map) return show(place);
  const marks = marksOf(answer);
  scale(marks);
  keepApart(marks.filter((mark) => mark.radius > 5));
  show(place, draw(marks), caption(answer));
}

function marksOf({ map, passages, true_next }) {
  const read = map.read.map((at, number) => ({ at, kind: "read", radius: 8.5, label: String(number - map.read.length + 1).replace("-", "−"),
    title: number === map.read.length - 1 ? "read last" : `read ${map.read.length - 1 - number} before the last` }));
  read.at(-1).label = "0";
  const found = map.passages.map((at, number) => {
    const near = number < NUMBERED, follows = passages[number].id === true_next;
    return { at, kind: follows ? "true" : near ? "near" : "far", radius: near || follows ? 10 : 3.5,
      label: near || follows ? String(number + 1) : "", title: `${number + 1}: ${(passages[number].text ?? passages[number].id).slice(0, 120)}` };
  }).reverse();
  const prediction = map.prediction ? [{ at: map.prediction, kind: "prediction", radius: 10, label: "", title: "the predicted vector" }] : [];
  return [...found, ...read, ...prediction];
}

// Scales both axes alike, so that distances in the picture are those in the plane.
function scale(marks) {
  const [low, high] = [Math.min, Math.max].map((extreme) => [0, 1].map((axis) => extreme(...marks.map((mark) => mark.at[axis]))));
  const span = [0, 1].map((axis) => high[axis] - low[axis] || 1e-9);
  const unit = Math.min((WIDTH - 2 * MARGIN) / span[0], (HEIGHT - 2 * MARGIN) / span[1]);
  for (const mark of marks) {
    const [x, y] = [0, 1].map((axis) => (mark.at[axis] - (low[axis] + high[axis]) / 2) * unit);
    Object.assign(mark, { x: WIDTH / 2 + x, y: HEIGHT / 2 - y });
    Object.assign(mark, { x0: mark.x, y0: mark.y });
  }
}

// Pushes labelled marks apart until none hides another; a thin line leads to the true place of each.
function keepApart(marks) {
  for (let round = 0; round < 200; round += 1) {
    let moved = false;
    marks.forEach((a, number) => marks.slice(number + 1).forEach((b) => {
      const angle = number + 1, dx = b.x - a.x || Math.cos(angle) * 1e-3, dy = b.y - a.y || Math.sin(angle) * 1e-3;
      const apart = Math.hypot(dx, dy), wanted = a.radius + b.radius + 2;
      if (apart >= wanted) return;
      const push = (wanted - apart) / 2 / apart;
      Object.assign(a, { x: a.x - dx * push, y: a.y - dy * push });
      Object.assign(b, { x: b.x + dx * push, y: b.y + dy * push });
      moved = true;
    }));
    for (const mark of marks) {
      mark.x = Math.min(Math.max(mark.x, mark.radius + 2), WIDTH - mark.radius - 2);
      mark.y = Math.min(Math.max(mark.y, mark.radius + 2), HEIGHT - mark.radius - 2);
    }
    if (!moved) return;
  }
}

function draw(marks) {
  const read = marks.filter((mark) => mark.kind === "read");
  const way = read.map((mark) => `${mark.x.toFixed(1)},${mark.y.toFixed(1)}`).join(" ");
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "map", "aria-label":
    "Map of what was read, the prediction and the candidates; the list of answers has the same content" },
    svg("polyline", { points: way, class: "way" }),
    marks.map((mark) => [
      Math.hypot(mark.x - mark.x0, mark.y - mark.y0) > mark.radius && svg("line", { class: "lead", x1: mark.x0, y1: mark.y0, x2: mark.x, y2: mark.y })]),
    marks.map(drawMark));
}

function drawMark({ x, y, kind, radius, label, title }) {
  const shape = kind === "prediction"
    ? svg("path", { d: `M${x} ${y - radius}L${x + radius} ${y}L${x} ${y + radius}L${x - radius} ${y}Z` })
    : svg("circle", { cx: x, cy: y, r: radius });
  return svg("g", { class: `mark ${kind}` }, svg("title", {}, title), shape, label && svg("text", { x, y, dy: "0.35em" }, label));
}

function caption({ map, true_next, passages }) {
  const key = (kind, name) => el("span", { class: `key ${kind}` }, el("i", {}), name);
  return el("figcaption", {}, "Points that are close have similar vectors, as far as two dimensions can show it. ",
    key("read", "read (0 is the last)"), map.prediction && key("prediction", "prediction"), key("near", "answers"),
    passages.some((one) => one.id === true_next) && key("true", "really comes next"));
}
