// The page at /: what was read, on the left; what may come next, on the right.
//
// `reading` is the whole state: the passages of one document, of which the first `upto` were read. It is either a
// document of the bundle (`document` is its id, passages have ids) or a pasted text.

import { get, post } from "./api.js";
import { showAnswers } from "./answers.js";
import { showCard } from "./card.js";
import { listenToInput, showExamples } from "./input.js";
import { el, find, plural, show } from "./dom.js";
import { showConfidence, showTime } from "./measures.js";
import { showMap } from "./map.js";
import { showThread } from "./thread.js";

const MOST_ANSWERS = 50;

let info = null;
let reading = null;
let running = new AbortController();
let timer = null;

start();

async function start() {
  try {
    info = await get("v1/info");
  } catch (error) {
    return trouble(error);
  }
  find("#served").textContent = `${info.name} · ${plural(info.contract.bank.candidates, "passage")} · ${info.bundle}`;
  showCard(find("#card"), info);
  listenToInput(info, { readText, readDocument, trouble });
  showExamples(find("#examples"), info.examples, readDocument);
  const choice = new URLSearchParams(location.hash.slice(1));
  if (choice.get("document")) readDocument(choice.get("document"), Number(choice.get("read")) || null);
}

async function readText(text) {
  const { passages } = await attempt(post("v1/cut", { text: text.toWellFormed?.() ?? text })) ?? {};
  if (passages) read({ title: "Your text", document: null, passages: passages.map((one) => ({ text: one })), upto: passages.length });
}

// Opens a document of the bundle; by default as many passages are read as one query reads.
async function readDocument(id, upto = null) {
  const passages = [];
  for (let total = 1; passages.length < total;) {
    const page = await attempt(get("v1/passages", { document: id, offset: passages.length, limit: 200 }));
    if (!page?.passages.length) return;
    passages.push(...page.passages);
    total = page.total;
  }
  const most = Math.max(1, passages.length - 1);
  read({ title: passages[0].title || id, document: id, passages, upto: Math.min(upto ?? info.contract.context, most) });
}

function read(passages) {
  reading = passages;
  find("#beginning").hidden = true;
  showThread(find("#thread"), reading, info.contract.context, { move, leave });
  move(reading.upto, { wait: 0 });
}

function leave() {
  reading = null;
  running.abort();
  history.replaceState(null, "", location.pathname);
  find("#thread").hidden = true;
  find("#beginning").hidden = false;
  find("#text").focus();
}

// Reads up to a passage and sends the query; while an arrow key is held down only the last one is sent.
function move(upto, { wait = 120 } = {}) {
  reading.upto = upto;
  if (reading.document !== null) {
    history.replaceState(null, "", `#${new URLSearchParams({ document: reading.document, read: upto })}`);
  }
  clearTimeout(timer);
  running.abort();
  running = new AbortController();
  timer = setTimeout(query, wait, running.signal);
}

async function query(signal) {
  const before = reading.passages.slice(0, reading.upto).slice(-info.limits.passages);
  const read = reading.document === null ? { passages: before.map((one) => one.text) } : { ids: before.map((one) => one.id) };
  const k = Math.min(MOST_ANSWERS, info.limits.k);
  find(".next").setAttribute("aria-busy", "true");
  const began = performance.now();
  const answer = await attempt(post("v1/next", { ...read, k, map: true }, signal));
  if (signal.aborted) return;
  find(".next").removeAttribute("aria-busy");
  if (answer) showAnswer(answer, performance.now() - began);
}

function showAnswer(answer, milliseconds) {
  const place = answer.passages.findIndex((one) => one.id === answer.true_next);
  showConfidence(find("#confidence"), answer.confidence, usualRecall(info));
  showAnswers(find("#answers"), answer, { openAt: (passage) => readDocument(passage.document, passage.position + 1) });
  find("#figures").hidden = false;
  showMap(find("#map"), answer);
  showTime(find("#time"), answer.milliseconds, milliseconds);
  find("#announced").textContent = `${plural(answer.passages.length, "passage")} answered in ${milliseconds.toFixed(0)} milliseconds.`
    + (place < 0 ? "" : ` The passage that really follows is at place ${place + 1}.`);
}

// The R@5 that was measured for the served option; null where an integrity check blocks it.
function usualRecall({ contract, gates }) {
  return gates.rows.find((row) => row.name === contract.option)?.metrics["R@5"]?.value ?? null;
}

async function attempt(promise) {
  try {
    const found = await promise;
    find("#trouble").hidden = true;
    return found;
  } catch (error) {
    if (error.name !== "AbortError") trouble(error);
    return null;
  }
}

function trouble(error) {
  find(".next").removeAttribute("aria-busy");
  show(find("#trouble"), el("span", {}, error instanceof TypeError ? "The server does not answer." : error.message));
}
