// Two entries window by window: which found what, a plot of all ranks, and the windows that changed most.

import { get } from "./api.js";
import { filter, entryChooser, entryOf, otherEntry, runChooser, runOf } from "./choices.js";
import { el, percent, plural, show } from "./dom.js";
import { drawScatter } from "./scatter.js";
import { drawWindow } from "./window.js";

const PAGE = 20;

export async function showDifferences(place, { runs, choice, go, trouble }) {
  const first = runOf(runs, choice.run), second = runOf(runs, choice.second ?? first.name);
  const option = entryOf(first, choice.entry, "copy-last"), other = otherEntry(second, choice.second_entry, first === second ? option : null), side = choice.side ?? "all";
  const query = { first: first.name, first_option: option, second: second.name, second_option: other, side };
  const choices = el("div", { class: "bar-of-choices" },
    runChooser("First run", runs, first.name, (run) => go({ run, entry: null })), entryChooser("Its entry", first, option, (entry) => go({ entry })),
    runChooser("Second run", runs, second.name, (name) => go({ second: name, second_entry: null })), entryChooser("Its entry", second, other, (entry) => go({ second_entry: entry })));
  show(place, choices);
  const found = await get("runs/differences", { ...query, offset: 0, limit: PAGE });
  const entries = [{ run: first.name, option }, { run: second.name, option: other }];
  const list = el("ol", { class: "windows" });
  const more = el("button", { type: "button", class: "more", onclick: () => add().catch(trouble) }, "More");
  const append = ({ shown, total }) => {
    list.append(...shown.map((window) => drawWindow(window, entries)));
    more.hidden = list.children.length >= total;
  };
  const add = async () => append(await get("runs/differences", { ...query, offset: list.children.length, limit: PAGE }));
  append(found);
  const names = first === second ? [option, other] : entries.map((entry) => `${entry.option} of ${entry.run}`);
  show(place, choices, el("div", { class: "overview" }, el("div", {}, verdict(found, names), el("p", { class: "hint" }, `Found: among the first five. Both answered ${plural(found.windows, "window")}; those that changed most come first.`),
    filter("Who found it", sides(found), side, (value) => go({ side: value === "all" ? null : value }))), drawScatter(found.points, names)), list, more);
}

function sides({ counts, windows }) {
  return [["all", "all", windows], ["only-second", "only the second found it", counts["only-second"]], ["only-first", "only the first found it", counts["only-first"]],
    ["both", "both", counts.both], ["neither", "neither", counts.neither]];
}

function verdict({ comparable, refused, differences, pools }, [first, second]) {
  if (refused) return el("p", { class: "notice bad" }, "An integrity check blocks one of these runs: no difference is computed.");
  if (!comparable) {
    return el("p", { class: "notice warn" }, `The two entries searched different candidates (${pools.map((one) => one.toLocaleString("en")).join(" and ")}), or under different rules: their ranks are shown, but no difference is computed.`);
  }
  const { "R@5": recall, MRR: mrr } = differences;
  const sign = (value) => (value > 0 ? "+" : value < 0 ? "−" : "±");
  const abs = (value, scale, digits) => `${sign(value)}${Math.abs(value * scale).toFixed(digits)}`;
  const line = (name, one, scale, digits, unit) => el("p", { class: "figure" }, el("b", {}, `${name} ${abs(one.value, scale, digits)}${unit}`),
    one.low !== null && el("span", {}, ` ${abs(one.low, scale, digits)} to ${abs(one.high, scale, digits)}`), el("small", {}, ` p ${one.p < 0.001 ? "< 0.001" : one.p.toFixed(3)}`));
  return el("div", {}, el("h2", {}, `${second} against ${first}`), line("R@5", recall, 100, 1, " points"), line("MRR", mrr, 1, 3, ""),
    el("p", { class: "hint" }, "95 % intervals and two-sided p-values over documents, for this pair only: a p-value says nothing if you chose the pair by it."));
}
