// Windows of one entry, the worst first: what was read, what came next, what was answered instead, and why.

import { get } from "./api.js";
import { chooser, filter, entryChooser, entryOf, runChooser, runOf } from "./choices.js";
import { el, percent, plural, show } from "./dom.js";
import { drawWindow, KINDS } from "./window.js";

const PAGE = 20;
const ORDERS = [["worst", "worst rank first"], ["best", "best rank first"], ["reading", "as in the documents"]];

export async function showFailures(place, { runs, choice, go, trouble }) {
  const run = runOf(runs, choice.run), option = entryOf(run, choice.entry), order = choice.order ?? "worst", kind = choice.kind ?? "";
  const query = { run: run.name, option, order, kind };
  const choices = el("div", { class: "bar-of-choices" },
    runChooser("Run", runs, run.name, (name) => go({ run: name, entry: null, kind: null })),
    entryChooser("Entry", run, option, (entry) => go({ entry, kind: null })),
    chooser("Order", ORDERS, order, (value) => go({ order: value })));
  show(place, choices);
  const found = await get("runs/windows", { ...query, offset: 0, limit: PAGE });
  const list = el("ol", { class: "windows" });
  const more = el("button", { type: "button", class: "more", onclick: () => add().catch(trouble) }, "More");
  const append = ({ windows, total }) => {
    list.append(...windows.map((window) => drawWindow(window, { run: run.name, option })));
    more.hidden = list.children.length >= total;
  };
  const add = async () => append(await get("runs/windows", { ...query, offset: list.children.length, limit: PAGE }));
  append(found);
  show(place,
    choices,
    found.refused && el("p", { class: "notice bad" }, `This run is blocked by ${run.blocked.join(", ")}: read its windows to find what failed, not to judge the entry.`),
    summary(found),
    filter("Kinds of failures", kinds(found), kind, (value) => go({ kind: value || null })),
    list, more);
}

function summary({ kinds: counts }) {
  if (counts === null) return null;
  const total = Object.values(counts).reduce((sum, one) => sum + one, 0), wrong = total - counts.right;
  return el("p", { class: "hint" }, `The first answer is wrong for ${plural(wrong, "window")} of ${total.toLocaleString("en")}. Each wrong window is of the first kind that applies:`);
}

function kinds({ kinds: counts, chance, hub }) {
  const thresholds = { chance: chance.toFixed(2), hub: String(hub) };
  const all = counts && Object.values(counts).reduce((sum, one) => sum + one, 0);
  return [["", "all", all], ...Object.entries(KINDS).map(([kind, { name, hint }]) => [kind, name, counts && counts[kind],
    hint.replace(/\{(\w+)\}/g, (_, key) => thresholds[key]) + (counts ? ` (${percent(counts[kind] / all)} of all windows)` : "")])];
}
