// The passages that may come next, each with its source and the reasons for it.

import { get } from "./api.js";
import { el, show } from "./dom.js";

const FIRST = 5;

export function showAnswers(place, answer, actions) {
  const cards = answer.passages.map((passage, number) => card(passage, number, answer, actions));
  const more = el("button", { type: "button", class: "more" }, `Show all ${cards.length}`);
  const list = el("ol", { class: "answers" }, cards.slice(0, FIRST));
  more.addEventListener("click", () => {
    list.append(...cards.slice(FIRST));
    more.remove();
    cards[FIRST].focus();
  });
  const truth = el("div", { id: "truth" });
  show(place, list, cards.length > FIRST && more, truth);
  showTruth(truth, answer, actions);
}

function card(passage, number, answer, actions) {
  const follows = passage.id === answer.true_next;
  return el("li", { class: follows ? "answer true" : "answer", tabindex: "-1", id: `answer-${number + 1}` },
    el("div", { class: "rank", "aria-hidden": "true" }, String(number + 1)),
    el("div", { class: "body" },
      follows && el("p", { class: "tag good" }, "really comes next"),
      el("p", { class: "prose" }, passage.text ?? passage.id),
      source(passage, actions),
      reasons(passage)));
}

function source(passage, { openAt }) {
  return el("p", { class: "source" },
    el("button", { type: "button", class: "link", title: "Read on from here", onclick: () => openAt(passage) }, passage.title || passage.document),
    ` position ${passage.position}`);
}

// Draws cosines as bars from 0 to 1; a cosine below 0 has no bar, only its figure.
function reasons(passage) {
  const { prediction, context, rerank } = passage.why;
  const bar = (cosine, label) => el("i", { class: "column", title: `${label}: cosine ${cosine.toFixed(2)}`,
    style: { "--share": Math.max(0, Math.min(1, cosine)) } });
  const last = context.at(-1);
  const part = (name, value, drawn) => el("div", {}, el("dt", {}, name), el("dd", {}, drawn, value));
  return el("dl", { class: "why" },
    rerank === null ? part("score", passage.score.toFixed(3)) : part("reranker", rerank.toFixed(3)),
    prediction !== null && part("cosine to the prediction", prediction.toFixed(2)),
    last !== undefined && part(context.length > 1 ? "to each passage read; to the last" : "to what was read", last.toFixed(2),
      context.map((one, place) => bar(one, `to passage ${place + 1} of ${context.length} read`))));
}

// Shows the passage that really follows, if the bundle holds it and it is not among the first answers.
async function showTruth(place, answer, actions) {
  if (answer.true_next === null) return;
  const number = answer.passages.findIndex((one) => one.id === answer.true_next);
  if (number >= 0 && number < FIRST) return;
  const where = number < 0 ? `not among the first ${answer.passages.length}` : `at place ${number + 1}`;
  const passage = number < 0 ? await get(`v1/passages/${encodeURIComponent(answer.true_next)}`) : answer.passages[number];
  if (!place.isConnected) return;
  show(place, el("h2", {}, `What really comes next is ${where}`),
    el("div", { class: "answer true" }, el("div", { class: "rank" }, number < 0 ? "–" : String(number + 1)),
      el("div", { class: "body" }, el("p", { class: "prose" }, passage.text ?? passage.id), source(passage, actions),
        number >= 0 && reasons(passage))));
}
