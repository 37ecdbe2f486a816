// Choosing a run and one of its entries.

import { el } from "./dom.js";

export const runOf = (runs, name) => runs.find((run) => run.name === name) ?? runs[0];

const measured = (run) => run.options.filter((entry) => entry.status === "done" || entry.status === "under-trained");

// Returns the named entry, else the winner, else the first one that was measured.
export function entryOf(run, name, other = null) {
  const names = measured(run).map((entry) => entry.name);
  return [name, other, run.winner].find((one) => names.includes(one)) ?? names[0];
}

// Returns the entry to set beside another one: the named, else the winner, else copy-last, else the best of the rest.
export function otherEntry(run, name, first) {
  const value = (entry) => entry.metrics["R@5"].value ?? 0;
  const best = measured(run).filter((entry) => entry.intent === "candidate").sort((a, b) => value(b) - value(a));
  const names = [name, run.winner, "copy-last", ...best.map((entry) => entry.name)];
  const known = new Set(measured(run).map((entry) => entry.name));
  return known.has(name) ? name : names.find((one) => known.has(one) && one !== first) ?? first;
}

export function runChooser(label, runs, current, choose) {
  return chooser(label, runs.map((run) => [run.name, run.name === "." ? run.title : run.name]), current, choose);
}

export function entryChooser(label, run, current, choose) {
  const names = measured(run).map(({ name }) => [name, name === run.winner ? `${name} ★` : name]);
  return chooser(label, names, current, choose);
}

export function chooser(label, pairs, current, choose) {
  const select = el("select", { onchange: (event) => choose(event.target.value) },
    pairs.map(([value, text]) => el("option", { value, selected: value === current }, text)));
  return el("label", { class: "chooser" }, label, select);
}

// Shows buttons with counts, one of them pressed.
export function filter(label, choices, current, choose) {
  return el("div", { class: "filter", role: "group", "aria-label": label }, choices.map(([value, name, count, hint]) =>
    el("button", { type: "button", "aria-pressed": String(value === current), title: hint ?? null, onclick: () => choose(value) },
      name, count !== null && el("small", {}, count.toLocaleString("en")))));
}
