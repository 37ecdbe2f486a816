// Elements from a tag, properties and children; texts are never parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

export const find = (selector, within = document) => within.querySelector(selector);

export function el(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) node.style.setProperty(key, one);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function show(place, ...children) {
  place.replaceChildren(...children.flat(3).filter(Boolean));
  place.hidden = false;
}

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

export const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

// Returns a table that scrolls sideways if it is wide; cells are texts, nodes, or { text, class }.
export function table(caption, heads, rows) {
  const cell = (one, number) => {
    const plain = one === null || one === undefined || one instanceof Node || typeof one !== "object";
    const { text, class: style } = plain ? { text: one ?? "–" } : one;
    return el("td", { class: [number ? "number" : "", style ?? ""].join(" ").trim() || null }, text);
  };
  const head = heads.map((one) => el("th", { scope: "col", class: one.number ? "number" : null }, one.text ?? one));
  const body = rows.map((row) =>
    el("tr", { class: row.style ?? null }, (row.cells ?? row).map((one, place) => cell(one, heads[place].number))));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}
