// The page of runs: four views over a folder of runs. What is chosen stands in the address, so it can be kept and sent.

import { get } from "./api.js";
import { showComparison } from "./compare.js";
import { showDifferences } from "./differences.js";
import { el, find, show } from "./dom.js";
import { showFailures } from "./failures.js";
import { showReport } from "./report.js";

const VIEWS = { compare: showComparison, report: showReport, failures: showFailures, differences: showDifferences };
const tabs = [...document.querySelectorAll("[role=tab]")];

let runs = [];

start();

async function start() {
  tabs.forEach((tab) => tab.addEventListener("click", () => go({ view: tab.dataset.view })));
  find("#tabs").addEventListener("keydown", moveAlongTabs);
  try {
    ({ runs } = await get("runs/list"));
  } catch (error) {
    return trouble(error);
  }
  const unreadable = runs.filter((run) => run.unreadable);
  runs = runs.filter((run) => !run.unreadable);
  if (!runs.length) return show(find("#view"), el("p", { class: "empty" }, "There is no run in this folder yet. ", el("code", {}, "segue triage recipe.toml --out runs/name"), " makes one."));
  if (unreadable.length) trouble(new Error(unreadable.map((run) => run.unreadable).join(" ")));
  addEventListener("hashchange", draw);
  draw();
}

const chosen = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

// Changes what is chosen; null takes a choice away.
function go(changes) {
  const next = Object.entries({ ...chosen(), ...changes }).filter(([, value]) => value !== null);
  location.hash = new URLSearchParams(next);
}

async function draw() {
  const choice = chosen(), view = choice.view in VIEWS ? choice.view : "compare";
  for (const tab of tabs) {
    const current = tab.dataset.view === view;
    tab.setAttribute("aria-selected", String(current));
    tab.tabIndex = current ? 0 : -1;
  }
  const place = find("#view");
  place.setAttribute("aria-labelledby", `tab-${view}`);
  place.setAttribute("aria-busy", "true");
  try {
    find("#trouble").hidden = true;
    await VIEWS[view](place, { runs, choice, go, trouble });
  } catch (error) {
    trouble(error);
  }
  place.removeAttribute("aria-busy");
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
