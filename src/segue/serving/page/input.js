// The input: a text that is pasted, dropped or opened, or a document of the bundle.

import { get } from "./api.js";
import { el, find, plural } from "./dom.js";

const LISTED = 50;

// The fields are disabled in the document until they are listened to, so that nothing typed early is lost.
export function listenToInput(info, { readText, readDocument, trouble }) {
  listenToText(info, readText, trouble);
  listenToDocuments(readDocument, trouble);
  find("#beginning fieldset").disabled = false;
}

function listenToText(info, readText, trouble) {
  const area = find("#text"), most = info.limits.text_characters;
  if (!info.reads_texts) {
    find("#paste").replaceChildren(el("p", { class: "notice" }, "This bundle has no encoder for new texts: choose one of its documents."));
    return;
  }
  const submit = () => area.value.trim() && readText(area.value.slice(-most));
  find("#beginning").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit();
  });
  const take = async (file) => {
    if (!file) return;
    if (file.size > 50e6) return trouble(new Error(`${file.name} is too large for this page.`));
    area.value = await file.text();
    submit();
  };
  find("#file").addEventListener("change", (event) => take(event.target.files[0]));
  listenToDrops(take, (text) => { area.value = text; submit(); });
}

// Beginnings of documents to try, each as a button.
export function showExamples(place, examples, readDocument) {
  const end = (text) => (text === null ? "" : `… ${text.slice(0, 90)}${text.length > 90 ? "…" : ""}`);
  place.hidden = examples.length === 0;
  place.querySelector("ul").replaceChildren(...examples.map((one) => el("li", {},
    el("button", { type: "button", class: "link", onclick: () => readDocument(one.document, one.read) }, `${one.title || one.document}, ${plural(one.read, "passage")} read`),
    el("span", { class: "hint" }, ` ${end(one.text)}`))));
}

// Files and texts can be dropped anywhere on the page.
function listenToDrops(takeFile, takeText) {
  const over = (on) => find("#paste").classList.toggle("over", on);
  document.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(false); });
  document.addEventListener("drop", (event) => {
    if (find("#beginning").hidden) return;
    event.preventDefault();
    over(false);
    const [file] = event.dataTransfer.files, text = event.dataTransfer.getData("text/plain");
    if (file) takeFile(file);
    else if (text) takeText(text);
  });
}

function listenToDocuments(readDocument, trouble) {
  const contains = find("#contains"), list = find("#documents");
  let timer = null;
  const search = () => listDocuments(contains.value, list).catch(trouble);
  const open = () => list.value && readDocument(list.value);
  contains.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 150); });
  contains.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); open(); }
    if (event.key === "ArrowDown") { event.preventDefault(); list.focus(); }
  });
  list.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); open(); } });
  list.addEventListener("dblclick", open);
  find("#open").addEventListener("click", open);
  search();
}

async function listDocuments(contains, list) {
  const { documents, total } = await get("v1/documents", { contains, limit: LISTED });
  list.replaceChildren(...documents.map((one) => el("option", { value: one.id }, `${one.title || one.id} (${one.passages})`)));
  if (documents.length) list.selectedIndex = 0;
  find("#found").textContent = total > documents.length
    ? `the first ${documents.length} of ${total.toLocaleString("en")}` : plural(total, "document");
}
