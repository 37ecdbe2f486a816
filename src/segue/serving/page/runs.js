// The page of runs: four views over a folder of runs. What is chosen is kept in the address, so it can be bookmarked and sent.

import { get } from "./api.js";
import { showComparison } from "./compare.js";
import { showDifferences } from "./differences.js";
import { el, find, show } from "./dom.js";
import { showFailures } from "./failures.js";
import { showReport } from "./report.js";

const VIEWS = { compare: showComparison, report: showReport, failures: showFailures, differences: showDifferences };
const tabs = [...document.querySelectorAll("[role=tab]")];

let runs = [];
let unread = null;
let drawn = null;

start();

async function start() {
  for (const tab of tabs) {
    tab.addEventListener("click", () => go({ view: tab.dataset.view }));
    tab.disabled = false;
  }
  find("#tabs").addEventListener("keydown", moveAlongTabs);
  try {
    ({ runs } = await get("runs/list"));
  } catch (error) {
    return trouble(error);
  }
  const unreadable = runs.filter((run) => run.unreadable);
  runs = runs.filter((run) => !run.unreadable);
  if (!runs.length) return show(find("#view"), el("p", { class: "empty" }, "There is no run in this folder yet. ", el("code", {}, "segue triage recipe.toml --out runs/name"), " makes one."));
  if (unreadable.length) unread = new Error(unreadable.map((run) => run.unreadable).join(" "));
  addEventListener("hashchange", draw);
  draw();
}

const chosen = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

// Changes what is chosen; null removes a choice.
function go(changes) {
  const next = Object.entries({ ...chosen(), ...changes }).filter(([, value]) => value !== null);
  location.hash = new URLSearchParams(next);
}

// Draws what is chosen outside the document and shows it when it is complete, unless something else was chosen meanwhile.
async function draw() {
  const choice = chosen(), view = choice.view in VIEWS ? choice.view : "compare";
  for (const tab of tabs) {
    const current = tab.dataset.view === view;
    tab.setAttribute("aria-selected", String(current));
    tab.tabIndex = current ? 0 : -1;
  }
  const seen = find("#view"), place = el("div");
  drawn = place;
  seen.setAttribute("aria-labelledby", `tab-${view}`);
  seen.setAttribute("aria-busy", "true");
  let shown = unread;
  try {
    await VIEWS[view](place, { runs, choice, go, trouble });
  } catch (error) {
    shown = error;
  }
  if (drawn !== place) return;
  if (shown) trouble(shown);
  else find("#trouble").hidden = true;
  show(seen, place);
  seen.removeAttribute("aria-busy");
}

function moveAlongTabs(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  next.focus();
  next.click();
}

function trouble(error) {
  show(find("#trouble"), el("span", {}, error instanceof TypeError ? "The server does not answer." : error.message));
}
