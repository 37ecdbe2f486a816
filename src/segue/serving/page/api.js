// Requests to the server that sent this page, and to no other.

import { el, find } from "./dom.js";

const ROOT = new URL("..", import.meta.url);
const KEY = "segue-key";

export const address = (path) => new URL(path, ROOT);

export const hasKey = () => sessionStorage.getItem(KEY) !== null;

export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `the server answered ${status}`);
    this.status = status;
  }
}

export const get = (path, query = {}, signal) => {
  const url = address(path);
  for (const [name, value] of Object.entries(query)) if (value !== null && value !== "") url.searchParams.set(name, value);
  return request(url, { signal });
};

export const post = (path, body, signal) =>
  request(address(path), { method: "POST", signal, body: JSON.stringify(body), headers: { "content-type": "application/json" } });

async function request(url, options) {
  const response = await fetch(url, { ...options, headers: { ...options.headers, ...keyHeader() } });
  const html = response.headers.get("content-type")?.startsWith("text/html");
  const body = await (html ? response.text() : response.json()).catch(() => null);
  if (response.status === 401) {
    await askForKey();
    return request(url, options);
  }
  if (!response.ok) throw new Refused(response.status, body?.error);
  return body;
}

function keyHeader() {
  const key = sessionStorage.getItem(KEY);
  return key === null ? {} : { authorization: `Bearer ${key}` };
}

let dialogClosed = null;

// All requests share one dialog; the key is kept until the tab is closed.
function askForKey() {
  dialogClosed ??= new Promise((resolve) => {
    const input = el("input", { type: "password", name: "key", id: "key", autocomplete: "off", required: true });
    const wrong = sessionStorage.getItem(KEY) !== null;
    const dialog = el("dialog", { class: "key", "aria-labelledby": "key-title" },
      el("form", { method: "dialog" },
        el("h2", { id: "key-title" }, "This server requires a key"),
        el("p", {}, wrong ? "The key was not accepted." : "It is kept until this tab is closed."),
        el("label", { for: "key" }, "API key"), input,
        el("button", { class: "main" }, "Continue")));
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(KEY, input.value.trim());
      dialog.remove();
      dialogClosed = null;
      resolve();
    });
    find("body").append(dialog);
    dialog.showModal();
  });
  return dialogClosed;
}
