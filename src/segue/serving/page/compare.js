// Runs beside each other. Only runs that answered the same queries share a table: other numbers do not compare.

import { gateTags, metricText } from "./card.js";
import { el, plural, show, table } from "./dom.js";
import { runOf, runChooser } from "./choices.js";

const SHOWN = ["R@1", "R@5", "R@10", "Contain@50", "MRR", "total_p95_ms"];
const HEADS = () => [{ text: "run" }, { text: "entry" }, ...SHOWN.map((name) => ({ text: name === "total_p95_ms" ? "P95, ms" : name, number: true })), { text: el("span", { class: "gates-head" }, "gates") }];
const BESIDE = ["copy-last", "copy-last-rerank"];

export function showComparison(place, { runs, choice, go }) {
  const groups = Map.groupBy ? Map.groupBy(runs, (run) => run.same) : grouped(runs);
  const current = runOf(runs, choice.run);
  show(place,
    [...groups.values()].map(drawGroup(go)),
    el("section", { class: "entries" },
      el("div", { class: "bar-of-choices" }, runChooser("All entries of", runs, current.name, (run) => go({ run }))),
      refusal(current), entriesTable(current)));
}

function grouped(runs) {
  const groups = new Map();
  for (const run of runs) groups.set(run.same, [...(groups.get(run.same) ?? []), run]);
  return groups;
}

const drawGroup = (go) => (runs) => {
  const [first] = runs;
  const corpus = first.fresh ? `fresh documents (${first.fresh.name ?? first.fresh.kind})` : ([first.corpus.kind, first.corpus.name].filter(Boolean).join(" ") || "unknown corpus");
  return el("section", { class: "group" },
    el("h2", {}, `${corpus}: ${plural(first.windows, "window")} of ${plural(first.documents, "test document")}, ${plural(first.pool, "candidate")}`),
    table("Runs that answered the same queries", HEADS(), [...runs.flatMap((run) => lines(run, go))]));
};

// Shows the winner of a run, with its baselines: copy-last, plain and reranked.
function lines(run, go) {
  const winner = run.options.find((entry) => entry.name === run.winner);
  const beside = run.options.filter((entry) => BESIDE.includes(entry.name) && entry !== winner && entry.metrics["R@5"]);
  const name = el("span", {}, el("button", { type: "button", class: "link", onclick: () => go({ view: "report", run: run.name }) }, run.name),
    el("small", {}, (run.created ?? "").slice(0, 16).replace("T", " ")));
  if (run.blocked.length && !run.unsafe) {
    return [{ style: "refused", cells: [name, `blocked by ${run.blocked.join(", ")}`, ...SHOWN.map(() => "–"), el("span", { class: "gates-cell" }, gateTags(run))] }];
  }
  const cells = (entry) => SHOWN.map((metric) => metricText(metric, entry?.metrics[metric]));
  return [
    { style: "first", cells: [name, winner ? `${winner.name} ★` : "no winner", ...cells(winner), el("span", { class: "gates-cell" }, gateTags(run))] },
    ...beside.map((entry) => ({ style: "base", cells: ["", entry.name, ...cells(entry), ""] })),
  ];
}

function refusal(run) {
  if (!run.blocked.length) return null;
  return el("p", { class: "notice bad" }, `${run.name} is blocked by ${run.blocked.join(", ")}: its numbers are ${run.unsafe ? "shown at your own risk" : "not shown"}. Its report shows what failed.`);
}

function entriesTable(run) {
  const heads = [{ text: "entry" }, { text: "status" }, ...SHOWN.map((name) => ({ text: name === "total_p95_ms" ? "P95, ms" : name, number: true }))];
  const rows = run.options.map((entry) => ({ style: entry.name === run.winner ? "winner" : entry.intent === "candidate" ? null : "control",
    cells: [entry.name === run.winner ? `${entry.name} ★` : entry.name, entry.intent === "candidate" ? entry.status : `${entry.status}, ${entry.intent}`,
      ...SHOWN.map((name) => metricText(name, entry.metrics[name]))] }));
  return table(`All entries of ${run.name}`, heads, rows);
}
