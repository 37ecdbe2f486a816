// The confidence of an answer, and the time of its stages.

import { el, percent, show } from "./dom.js";

const LIKELY = 0.5;

// `usual` is the share of test queries whose next passage was among the first five; null where it is not known.
export function showConfidence(place, confidence, usual) {
  if (confidence === null) {
    show(place, el("p", { class: "notice quiet" }, "No confidence is shown: the run of this bundle did not measure it, or found no signal for it."));
    return;
  }
  const first = confidence["R@1"], five = confidence["R@5"];
  const likely = five >= LIKELY;
  show(place, el("div", { class: likely ? "confidence" : "confidence unlikely" },
    el("p", { class: "verdict" }, likely ? "The next passage is probably among the first five" : "The next passage may not be among the first five"),
    el("p", { class: "hint" }, "Chance that the one passage that really follows is:"),
    meter("first", first), meter("among the first five", five),
    usual !== null && el("p", { class: "hint" }, `On test documents it was among the first five for ${percent(usual)} of the queries.`),
    !likely && el("p", { class: "hint" }, "Other passages of the right document may still continue the text; or the document ends here, or the bundle does not hold what follows.")));
}

const meter = (name, chance) => el("div", { class: "meter" },
  el("span", {}, name), el("i", { class: "bar", style: { "--share": chance } }), el("b", {}, percent(chance)));

const STAGES = ["encode", "predict", "search", "rerank", "read"];

// The rest of the round trip is transport, waiting, and writing the answer.
export function showTime(place, stages, total) {
  const known = Object.entries(stages).sort(([a], [b]) => STAGES.indexOf(a) - STAGES.indexOf(b));
  const rest = Math.max(0, total - known.reduce((sum, [, value]) => sum + value, 0));
  const parts = [...known, ["transport and waiting", rest]];
  const whole = parts.reduce((sum, [, value]) => sum + value, 0);
  show(place,
    el("figcaption", {}, el("b", {}, `${total.toFixed(0)} ms`), " from query to answer"),
    el("div", { class: "split", "aria-hidden": "true" },
      parts.map(([name, value], number) => el("i", { class: `stage-${number}`, style: { "flex-grow": value / whole }, title: name }))),
    el("dl", { class: "stages" }, parts.map(([name, value], number) =>
      el("div", {}, el("dt", {}, el("i", { class: `stage-${number}` }), name), el("dd", {}, `${value.toFixed(1)} ms`)))));
}
