// One window as a line that opens; its texts are fetched when it is opened.

import { get, address } from "./api.js";
import { el, plural, show } from "./dom.js";

export const KINDS = {
  "near-copy": { name: "nearly right", hint: "The first answer nearly repeats what came next: cosine 0.95 or more" },
  soon: { name: "a little too far", hint: "The first answer comes one or two passages after what came next" },
  "same-document": { name: "same document", hint: "The first answer is elsewhere in the document that was read" },
  break: { name: "break", hint: "What came next is no nearer to anything read than chance: cosine below {chance}" },
  hub: { name: "hub", hint: "The first answer is one of the 1 % answered most: among the first five for {hub} windows or more" },
  copying: { name: "copying", hint: "The first answer is nearer to the last passage read than what came next is" },
  other: { name: "other", hint: "None of these" },
  right: { name: "right", hint: "The first answer is what came next" },
};

const rankText = (rank) => (rank === undefined ? "–" : rank.toLocaleString("en"));

export function drawWindow(window, entry) {
  const inside = el("div", { class: "inside" });
  const details = el("details", { class: "window" },
    el("summary", {}, ranks(window), el("span", { class: "about" },
      el("b", {}, window.title || window.document), ` position ${window.position}`,
      window.kind && el("span", { class: window.kind === "right" ? "tag good" : "tag" }, KINDS[window.kind].name),
      el("span", { class: "prose cut" }, window.text ?? window.id))),
    inside);
  details.addEventListener("toggle", () => {
    if (details.open && !inside.children.length) fillWindow(inside, window.id, [].concat(entry));
  });
  return el("li", {}, details);
}

const ranks = ({ rank, ranks: two }) => el("span", { class: "ranks" }, (two ?? [rank]).map((one, number) =>
  [number > 0 && el("span", { class: "to", "aria-label": "to" }, "→"), el("span", { class: one <= 5 ? "found" : null, title: "rank of what came next" }, rankText(one))]));

async function fillWindow(place, id, entries) {
  show(place, el("p", { class: "hint" }, "Reading …"));
  try {
    const found = await Promise.all(entries.map((entry) => get("runs/window", { ...entry, id })));
    const query = [read(found[0]), truth(found[0])];
    const lists = found.map((one, number) => answers(one, entries.length > 1 ? entries[number] : null));
    show(place, entries.length > 1 ? [query, el("div", { class: "two" }, lists)] : el("div", { class: "two" }, el("div", {}, query), lists));
  } catch (error) {
    show(place, el("p", { class: "notice bad" }, error.message));
  }
}

function read({ read: passages }) {
  return el("section", {}, el("h3", {}, "Read"), el("ol", { class: "plain" }, passages.map((one) =>
    el("li", {}, el("span", { class: "prose" }, one.text ?? one.id), el("small", {}, `cosine to what came next ${one.to_truth.toFixed(2)}`)))));
}

function truth(window) {
  const near = window.to_last < window.chance ? `no nearer to the last passage read (${window.to_last.toFixed(2)}) than chance (${window.chance.toFixed(2)})` : `cosine to the last passage read ${window.to_last.toFixed(2)}`;
  const others = Object.entries(window.others).map(([name, rank]) => `${name} ${rankText(rank)}`);
  const url = address("");
  url.hash = new URLSearchParams({ document: window.document, read: window.position });
  return el("section", { class: "answer true" }, el("div", { class: "rank" }, rankText(window.rank)), el("div", { class: "body" },
    el("h3", {}, "What came next"),
    el("p", { class: "prose" }, window.text ?? window.id),
    el("p", { class: "source" }, near, window.cosine !== null && `; to the prediction ${window.cosine.toFixed(2)}`),
    others.length > 0 && el("p", { class: "source" }, `Its rank in other entries: ${others.join(", ")}`),
    el("p", { class: "source" }, el("a", { href: url }, "Query the served bundle here"))));
}

function answers({ found, rank }, entry) {
  return el("section", {}, el("h3", {}, entry ? `Answers of ${entry.option} of ${entry.run}, rank ${rankText(rank)}` : "Answered instead"),
    found.length ? el("ol", { class: "plain" }, found.map((one, number) => el("li", { class: "answer" },
      el("div", { class: "rank" }, String(number + 1)),
      el("div", { class: "body" }, el("p", { class: "prose" }, one.text ?? one.id),
        el("p", { class: "source" }, `${one.title || one.document}, position ${one.position}`),
        el("p", { class: "source reasons" }, one.why.length ? one.why.join("; ") : "no reason found: what came next is nearer to what was read")))))
      : el("p", { class: "hint" }, "Nothing."));
}
