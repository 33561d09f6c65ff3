// Asking the service: JSON, forms, and streams of events. A refusal is a problem document.

import { word } from "./i18n.js";

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

const keyDialog = document.getElementById("key");

function askKey(wasWrong) {
  const field = document.getElementById("keytext");
  if (!keyDialog.open) {
    field.value = "";
    document.getElementById("keywrong").hidden = !wasWrong;
    keyDialog.returnValue = "";
    keyDialog.showModal();
  }
  return new Promise((resolve, reject) => {
    keyDialog.addEventListener("close", () => {
      if (!keyDialog.returnValue) { // Escape
        reject(new Refused({ detail: word("keytitle"), fix: word("again") }));
        return;
      }
      sessionStorage.setItem("rolesum.key", field.value.trim());
      resolve();
    }, { once: true });
  });
}

async function send(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem("rolesum.key");
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused({ title: word("lost"), detail: word("lost"), fix: word("again") });
    }
    if (answer.status !== 401) {
      if (!answer.ok) throw new Refused(await answer.json().catch(() => ({ detail: `${answer.status}`, fix: "" })));
      return answer;
    }
    await askKey(Boolean(key));
  }
}

export const get = async (path) => (await send(path)).json();

export const file = async (path) => (await send(path)).blob();

export const remove = (path) => send(path, { method: "DELETE" });

export async function post(path, body) {
  const isForm = body instanceof FormData;
  const headers = isForm ? {} : { "Content-Type": "application/json" };
  return (await send(path, { method: "POST", headers, body: isForm ? body : JSON.stringify(body ?? {}) })).json();
}

// Calls on[event](data) for each event, until the stream ends.
export async function stream(path, body, on, signal) {
  const headers = { "Content-Type": "application/json" };
  const answer = await send(path, { method: "POST", headers, body: JSON.stringify({ ...body, stream: true }), signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let ended = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const lines = event.split("\n");
      const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (!name) continue;
      if (name === "error") throw new Refused(JSON.parse(data));
      ended ||= name === "done";
      on[name]?.(JSON.parse(data));
    }
  }
  if (!ended) throw new Refused({ title: word("lost"), detail: word("lost"), fix: word("again") });
}

export function showProblem(place, error) {
  place.hidden = !error;
  if (!error) return;
  if (!(error instanceof Refused)) console.error(error);
  const problems = error.problem?.problems?.length ? error.problem.problems : [{ what: error.message, fix: error.problem?.fix, where: error.problem?.where }];
  place.replaceChildren(...problems.slice(0, 5).map((one) => {
    const box = document.createElement("div");
    const what = document.createElement("b");
    what.textContent = one.where ? `${one.where}: ${one.what}` : one.what;
    box.append(what, one.fix || "");
    return box;
  }));
}
