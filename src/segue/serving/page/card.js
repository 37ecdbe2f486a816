// The model card: what is served, its origin, what was measured, which gates it passed.

import { el, plural, show, table } from "./dom.js";

const SHOWN = ["R@1", "R@5", "Contain@50", "MRR", "total_p95_ms"];
const EXCLUDED = { context: "the passages read", prefix: "the passages read and all before them", none: "nothing" };
const HEADS = { total_p95_ms: "P95, ms" };
const MARKS = { pass: "✓", fail: "✕", "not-enough-evidence": "?" };
const TONES = { pass: "good", fail: "bad", "not-enough-evidence": "warn" };

export function showCard(place, info) {
  const { gates } = info;
  show(place, el("div", { class: "cards" },
    el("article", {}, el("h3", {}, info.name), facts(info)),
    el("article", {}, el("h3", {}, "Measured"), refitted(gates), refusal(gates), measured(gates)),
    el("article", {}, el("h3", {}, "Gates"), gateList(gates), checks(gates))));
}

function facts({ contract, bundle, segue }) {
  const { bank, space } = contract;
  const fold = contract.folds > 1 ? `, fold ${contract.fold + 1} of ${contract.folds}` : "";
  const lines = {
    Reads: `the last ${plural(contract.context, "passage")}`,
    "Answers from": `${plural(bank.candidates, "candidate")} (${plural(bank.documents, "document")})`,
    "Never answers": EXCLUDED[contract.exclude],
    "Entry of the triage": `${contract.option}: ${contract.description}`,
    Space: `${space.encoder}, ${space.dimension} dimensions`,
    "Trained on": `${plural(contract.training_documents, "document")}${fold}`,
    Built: `${contract.created.slice(0, 10)}, Segue ${segue}, version ${bundle}`,
  };
  return el("dl", { class: "facts" }, Object.entries(lines).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function refitted({ refit }) {
  return refit ? el("p", { class: "notice" }, refit) : null;
}

function refusal({ blocked, unsafe }) {
  if (!blocked.length) return null;
  const how = unsafe ? "shown at your own risk" : "not shown";
  return el("p", { class: "notice bad" }, `An integrity check failed (${blocked.join(", ")}): the numbers are ${how}.`);
}

function measured(gates) {
  const heads = [{ text: "entry" }, ...SHOWN.map((name) => ({ text: HEADS[name] ?? name, number: true }))];
  const rows = gates.rows.map((entry) => [entry.name, ...SHOWN.map((name) => metricText(name, entry.metrics[name]))]);
  return [
    el("p", {}, `${plural(gates.windows, "window")} of ${plural(gates.documents, "test document")}, among ${plural(gates.pool, "candidate")}; per cent with 95 % intervals.`),
    table("Measured", heads, rows),
  ];
}

// Formats a rate in per cent, MRR and milliseconds unscaled, with the interval where there is one.
export function metricText(name, metric) {
  if (!metric || metric.value === null) return "–";
  if (name.endsWith("_ms")) return metric.value.toFixed(2);
  const [scale, digits] = name === "MRR" || name === "Eff@5" ? [1, 3] : [100, 1];
  const [value, low, high] = [metric.value, metric.low, metric.high].map((one) => (one === null ? null : (one * scale).toFixed(digits)));
  return el("span", {}, value, low !== null && high !== null && el("small", {}, ` ${low}–${high}`));
}

export function gateList({ gates }) {
  if (!gates.length) return el("p", {}, "No gate was set.");
  return el("ul", { class: "gates" }, gates.map((gate) => el("li", {},
    el("span", { class: `tag ${TONES[gate.outcome] ?? ""}` }, (gate.outcome ?? "refused").replaceAll("-", " ")), " ", gate.name,
    gate.value !== null && el("small", {}, ` ${shown(gate.value)}${gate.threshold === null ? "" : `, required ${shown(gate.threshold)}`}`))));
}

const shown = (value) => Number(value.toPrecision(3)).toString();

function checks({ checks: found, muted }) {
  if (!found.length) return null;
  const passed = found.filter((one) => one.outcome === "passed").length;
  return el("details", {}, el("summary", {}, `${passed} of ${plural(found.length, "integrity check")} passed`),
    el("ul", {}, found.map((one) => el("li", {}, `${one.code} ${one.title}: `, el("b", {}, one.outcome)))),
    muted.length > 0 && el("p", {}, `Muted: ${muted.join(", ")}`));
}

// Shows the gates as one short line, for tables.
export function gateTags({ gates }) {
  return el("span", {}, gates.map((gate) => el("span", { class: `tag ${TONES[gate.outcome] ?? ""}`, title: (gate.outcome ?? "refused").replaceAll("-", " ") },
    `${MARKS[gate.outcome] ?? "–"} ${gate.name}`)));
}
