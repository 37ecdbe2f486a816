// The passages of a document as a list in which the reading position moves: arrow keys, Home, End, or a click.

import { el, find, plural, show } from "./dom.js";

export function showThread(place, reading, context, { move, leave }) {
  const items = reading.passages.map((passage, number) =>
    el("li", { role: "option", id: `passage-${number}`, "aria-selected": "false" },
      el("span", { class: "number", "aria-hidden": "true" }, String(passage.position ?? number)),
      el("span", { class: "prose" }, passage.text ?? passage.id)));
  const list = el("ol", { role: "listbox", tabindex: "0", "aria-label": `Passages of ${reading.title}; the selected one was read last; positions count from 0, as in ids` }, items);
  const count = el("p", { class: "hint", id: "position" });
  show(place,
    el("div", { class: "row spread" },
      el("h2", {}, reading.title),
      el("button", { type: "button", onclick: leave }, "Another text")),
    count, list);
  const last = reading.passages.length;
  const go = (upto) => {
    const to = Math.min(Math.max(upto, 1), last);
    mark(list, items, to, context);
    count.textContent = `${to} of ${last} passages read; the answer is computed from the last ${plural(Math.min(to, context), "passage")}.`;
    if (to !== reading.upto) move(to);
  };
  list.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: reading.upto + 1, ArrowUp: reading.upto - 1, Home: 1, End: last, PageDown: reading.upto + 5, PageUp: reading.upto - 5 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    go(steps[event.key]);
  });
  list.addEventListener("click", (event) => {
    const item = event.target.closest("li");
    if (item && getSelection().isCollapsed) go(items.indexOf(item) + 1);
  });
  go(reading.upto);
  list.focus({ preventScroll: true });
}

function mark(list, items, upto, context) {
  items.forEach((item, number) => {
    item.className = number >= upto ? "unread" : number >= upto - context ? "window" : "before";
    item.setAttribute("aria-selected", String(number === upto - 1));
    item.classList.toggle("following", number === upto);
  });
  list.setAttribute("aria-activedescendant", items[upto - 1].id);
  const item = items[upto - 1];
  const quiet = matchMedia("(prefers-reduced-motion: reduce)").matches;
  list.scrollTo({ top: item.offsetTop + item.offsetHeight - list.clientHeight * 0.72, behavior: quiet ? "auto" : "smooth" });
}
