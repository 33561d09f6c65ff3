// Requests to the server: JSON, forms and server-sent events. Errors are problem documents.

import { roleName, t } from "./i18n.js";

export class APIError extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

const keyDialog = document.getElementById("key");

function askForKey(wasWrong) {
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
        reject(new APIError({ detail: t("keytitle"), fix: t("again") }));
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
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new APIError({ title: t("lost"), detail: t("lost"), fix: t("again") });
    }
    if (response.status !== 401) {
      if (!response.ok) throw new APIError(await response.json().catch(() => ({ detail: `${response.status}`, fix: "" })));
      return response;
    }
    await askForKey(Boolean(key));
  }
}

export const get = async (path) => (await send(path)).json();

export const getBlob = async (path) => (await send(path)).blob();

export const del = (path) => send(path, { method: "DELETE" });

export async function post(path, body) {
  const isForm = body instanceof FormData;
  const headers = isForm ? {} : { "Content-Type": "application/json" };
  return (await send(path, { method: "POST", headers, body: isForm ? body : JSON.stringify(body ?? {}) })).json();
}

export async function postForBlob(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await send(path, { method: "POST", headers, body: JSON.stringify(body) })).blob();
}

// Calls on[event](data) for each event, until the stream ends.
export async function stream(path, body, on, signal) {
  const headers = { "Content-Type": "application/json" };
  const response = await send(path, { method: "POST", headers, body: JSON.stringify({ ...body, stream: true }), signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  let ended = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const events = (buffer + value).split("\n\n");
    buffer = events.pop();
    for (const event of events) {
      const lines = event.split("\n");
      const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (!name) continue;
      if (name === "error") throw new APIError(JSON.parse(data));
      ended ||= name === "done";
      on[name]?.(JSON.parse(data));
    }
  }
  if (!ended) throw new APIError({ title: t("lost"), detail: t("lost"), fix: t("again") });
}

// Replaces the API's keys and paths in the server's error messages by the page's fields and tabs.
const WORDS = [
  [/(?:say who it is, as in )?"speakers": \{"([^"]*)": "(\w+)"\}/g, (_, speaker, role) => t("err_speakers", { speaker, role: roleName(role) })],
  [/ask for roles (\w+)/g, (_, role) => t("err_roles", { role: roleName(role) })],
  [/name (?:it|the right one|the format) with format:?/g, () => `${t("err_format", { options: t("inputoptions") })}:`],
  [/name its encoding with encoding/g, () => t("err_option", { field: t("encodingname"), options: t("inputoptions") })],
  [/say who speaks: unknown_speaker/g, () => `${t("err_option", { field: t("unnamed"), options: t("inputoptions") })}:`],
  [/\bunknown_speaker\b/g, () => t("err_option", { field: t("unnamed"), options: t("inputoptions") })],
  [/map them: columns/g, () => `${t("err_option", { field: t("columns"), options: t("inputoptions") })}:`],
  [/(?:may want|leave out) columns\b/g, (found) => found.replace("columns", t("columns"))],
  [/"?options\.max_new_tokens"?|\bmax_new_tokens\b/g, () => t("length")],
  [/"?options\.verify"?/g, () => `“${t("verify")}”`],
  [/send (?:several dialogues|them) to \/v1\/batches/g, () => t("err_tab", { tab: t("many") })],
  [/, or use rolesum summarize|; see (?:docs\/\S+|\/openapi\.json)|see \/openapi\.json/g, () => ""],
];

export const inWords = (text) => WORDS.reduce((said, [key, word]) => said.replace(key, word), text ?? "");

function placeInWords(where) {
  const line = /^text(?:, dialogue text|:(\d+).*)?$/.exec(where);
  if (line) return line[1] ? t("err_line", { where: t("transcript"), n: line[1] }) : t("transcript");
  if (/^dialogues:1, dialogue /.test(where)) return t("dialogue");
  const turn = /^dialogue\.turns\.(\d+)/.exec(where);
  if (turn) return t("err_turn", { n: Number(turn[1]) + 1 });
  return inWords(where.replace(/^options\.(?=redact|samples|beams)/, ""));
}

export function showProblem(box, error) {
  box.hidden = !error;
  if (!error) return;
  if (!(error instanceof APIError)) console.error(error);
  const problems = error.problem?.problems?.length ? error.problem.problems : [{ what: error.message, fix: error.problem?.fix, where: error.problem?.where }];
  box.replaceChildren(...problems.slice(0, 5).map((one) => {
    const item = document.createElement("div");
    const what = document.createElement("b");
    what.textContent = one.where ? `${placeInWords(one.where)}: ${inWords(one.what)}` : inWords(one.what);
    item.append(what, inWords(one.fix));
    return item;
  }));
}
