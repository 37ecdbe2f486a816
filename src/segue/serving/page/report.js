// The report of a run, as it is in the run folder.

import { address, get, hasKey } from "./api.js";
import { runChooser, runOf } from "./choices.js";
import { el, show } from "./dom.js";

export async function showReport(place, { runs, choice, go }) {
  const run = runOf(runs, choice.run);
  const choices = el("div", { class: "bar-of-choices" }, runChooser("Run", runs, run.name, (name) => go({ run: name })));
  if (!run.report) {
    return show(place, choices, el("p", { class: "empty" }, "This run has no report yet. ", el("code", {}, `segue report ${run.name}`), " writes it."));
  }
  const url = address("runs/report");
  url.searchParams.set("run", run.name);
  const frame = el("iframe", { class: "report", title: `Report of ${run.name}` });
  if (hasKey()) await showLocked(frame, run);
  else {
    frame.src = url;
    choices.append(el("a", { href: url, target: "_blank", rel: "noopener" }, "Open in a new tab"));
  }
  show(place, choices, frame);
}

// A frame cannot send a key, so the report is fetched and shown without scripts: its tables cannot be sorted.
async function showLocked(frame, run) {
  frame.setAttribute("sandbox", "");
  frame.srcdoc = await get("runs/report", { run: run.name });
}
