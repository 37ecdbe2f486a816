// Choosing a run and one of its rows.

import { el } from "./dom.js";

export const runOf = (runs, name) => runs.find((run) => run.name === name) ?? runs[0];

const measured = (run) => run.options.filter((row) => row.status === "done" || row.status === "under-trained");

// The row asked for, else the winner, else the first one that was measured.
export function rowOf(run, name, other = null) {
  const rows = measured(run).map((row) => row.name);
  return [name, other, run.winner].find((one) => rows.includes(one)) ?? rows[0];
}

export function runChooser(label, runs, current, choose) {
  return chooser(label, runs.map((run) => [run.name, run.name === "." ? run.title : run.name]), current, choose);
}

export function rowChooser(label, run, current, choose) {
  const names = measured(run).map((row) => [row.name, row.name === run.winner ? `${row.name} ★` : row.name]);
  return chooser(label, names, current, choose);
}

export function chooser(label, pairs, current, choose) {
  const select = el("select", { onchange: (event) => choose(event.target.value) },
    pairs.map(([value, text]) => el("option", { value, selected: value === current }, text)));
  return el("label", { class: "chooser" }, label, select);
}

// Buttons of which one is pressed, each with its count.
export function filter(label, choices, current, choose) {
  return el("div", { class: "filter", role: "group", "aria-label": label }, choices.map(([value, name, count, hint]) =>
    el("button", { type: "button", "aria-pressed": String(value === current), title: hint ?? null, onclick: () => choose(value) },
      name, count !== null && el("small", {}, count.toLocaleString("en")))));
}
