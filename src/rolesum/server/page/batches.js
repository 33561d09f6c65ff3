// Batches: upload a file, watch its progress, show the results in a table.

import { del, get, getBlob, inWords, post, showProblem } from "./api.js";
import { toFormData, inputOptions, acceptFiles } from "./input.js";
import { download } from "./results.js";
import { doubtNotes } from "./statements.js";
import { currentLocale, roleName, t } from "./i18n.js";

const byId = (id) => document.getElementById(id);
const PAGE = 100;

let openId = null; // the batch whose table is shown
let rows = [];
let next = 0;
let timer = null;
let chosen = null; // the file that is to be sent
// Key in localStorage: batch id -> file name. The server does not store file names.
const NAMES = "rolesum.batches";
const MAX_NAMES = 200;
const lines = new Map(); // batch id -> its line; lines are updated in place, so that they keep the focus

export function initBatches() {
  acceptFiles(byId("manyinput"), byId("manyfile"), (file) => {
    chosen = file;
    showProblem(byId("manyproblem"), null);
    renderChosen();
  });
  byId("manystart").addEventListener("click", createBatch);
  byId("more").addEventListener("click", () => loadMore());
  byId("jsonl").addEventListener("click", async () => download(`${fileStem()}.jsonl`, await getBlob(`/v1/batches/${openId}/results.jsonl`)));
  byId("csv").addEventListener("click", async () => {
    await reload();
    while (next !== null) await loadMore();
    download(`${fileStem()}.csv`, `\uFEFF${toCSV()}`, "text/csv");
  });
}

export function renderChosen() {
  byId("manychosen").textContent = chosen ? t("chosenfile", { name: chosen.name, size: sizeText(chosen.size) }) : t("nofile");
  byId("manystart").disabled = !chosen;
}

function sizeText(bytes) {
  const [size, unit] = bytes < 1e6 ? [bytes / 1e3, "kB"] : [bytes / 1e6, "MB"];
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${unit}`;
}

function savedNames() {
  try {
    return JSON.parse(localStorage.getItem(NAMES)) ?? {};
  } catch {
    return {};
  }
}

function saveName(id, name) {
  const kept = Object.entries(savedNames()).slice(1 - MAX_NAMES);
  localStorage.setItem(NAMES, JSON.stringify(Object.fromEntries([...kept, [id, name]])));
}

const whenText = (batch) => new Date(batch.created * 1000).toLocaleString(currentLocale());
const nameOf = (batch) => savedNames()[batch.id] ?? t("batchof", { when: whenText(batch) });
const fileStem = () => `${(savedNames()[openId] ?? "batch").replace(/\.[^.]*$/, "")}-summaries`;

async function createBatch() {
  if (!chosen) return;
  byId("manystart").disabled = true;
  const file = chosen;
  const fields = { ...inputOptions(byId("manyinput")), model: byId("manymodel").value };
  if (byId("manypreset").value) fields.sections = byId("manypreset").value;
  try {
    showProblem(byId("manyproblem"), null);
    const batch = await post("/v1/batches", toFormData(file, fields));
    showProblem(byId("manyproblem"), null);
    saveName(batch.id, file.name);
    chosen = null;
    await refresh();
    open(batch);
  } catch (error) {
    showProblem(byId("manyproblem"), error);
  } finally {
    renderChosen();
  }
}

// Shows the list of batches, and again every second while one of them runs.
export async function refresh() {
  clearTimeout(timer);
  let batches;
  try {
    ({ batches } = await get("/v1/batches"));
  } catch (error) {
    showProblem(byId("manyproblem"), error);
    return;
  }
  const drawn = batches.map(updateLine);
  const box = byId("batches");
  if (drawn.length !== box.children.length || drawn.some((line, place) => line !== box.children[place])) box.replaceChildren(...drawn);
  const opened = batches.find((one) => one.id === openId);
  if (opened && rows.some((row) => row.status === "waiting")) await reload();
  if (!byId("many").hidden && batches.some((one) => one.ended === null)) timer = setTimeout(refresh, 1000);
}

function updateLine(batch) {
  const kind = `${batch.ended === null} ${currentLocale()}`;
  if (lines.get(batch.id)?.kind !== kind) lines.set(batch.id, { kind, ...newLine(batch) });
  const { line, bar, status } = lines.get(batch.id);
  bar.value = batch.done + batch.failed;
  const failed = batch.failed ? `, ${t("failed", { n: batch.failed })}` : "";
  status.textContent = `${batch.done + batch.failed} / ${batch.total} · ${t(batch.status)}${failed}`;
  return line;
}

function newLine(batch) {
  const line = document.createElement("div");
  line.className = "panel batch";
  const bar = document.createElement("progress");
  bar.max = batch.total;
  bar.setAttribute("aria-label", nameOf(batch));
  const name = Object.assign(document.createElement("b"), { textContent: nameOf(batch) });
  const status = document.createElement("span");
  const when = document.createElement("span");
  when.className = "note";
  when.textContent = `${whenText(batch)} · ${batch.model}`;
  const spring = Object.assign(document.createElement("span"), { className: "spring" });
  line.append(name, bar, status, when, spring, button("show", () => open(batch)));
  if (batch.ended === null) line.append(button("cancel", async () => { await post(`/v1/batches/${batch.id}/cancel`); refresh(); }));
  else line.append(button("remove", async () => {
    if (!confirm(t("sure"))) return;
    await del(`/v1/batches/${batch.id}`);
    if (openId === batch.id) { openId = null; byId("batch").hidden = true; }
    refresh();
  }));
  return { line, bar, status };
}

function button(name, call) {
  const made = document.createElement("button");
  made.className = "quiet";
  made.textContent = t(name);
  made.addEventListener("click", call);
  return made;
}

async function open(batch) {
  openId = batch.id;
  rows = [];
  next = 0;
  byId("batch").hidden = false;
  byId("batchtitle").textContent = nameOf(batch);
  await refresh();
  await loadMore();
}

async function loadMore() {
  const found = await get(`/v1/batches/${openId}/results?offset=${next}&limit=${PAGE}`);
  rows.push(...found.results);
  next = found.next;
  renderTable();
}

// Loads the shown results again: some are done by now.
async function reload() {
  if (!rows.length) return;
  const found = await get(`/v1/batches/${openId}/results?offset=0&limit=${Math.min(1000, Math.max(PAGE, rows.length))}`);
  rows = found.results;
  next = found.next;
  renderTable();
}

function renderTable() {
  const roles = [...new Set(rows.flatMap((row) => row.result?.summaries.map((one) => one.role) ?? []))];
  const head = document.createElement("tr");
  for (const text of [t("id"), ...roles.map(roleName), t("doubtfulcolumn"), t("flagscolumn")]) head.append(cell("th", text));
  byId("table").tHead.replaceChildren(head);
  byId("table").tBodies[0].replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr");
    line.append(cell("td", row.id));
    const summaries = row.result?.summaries ?? [];
    if (row.status === "failed") {
      const message = cell("td", inWords(`${row.problem.detail} ${row.problem.fix}`));
      message.colSpan = roles.length + 2;
      message.className = "problem";
      line.append(message);
      return line;
    }
    for (const role of roles) line.append(cell("td", summaries.find((one) => one.role === role)?.text ?? (row.result ? "" : "…")));
    line.append(cell("td", doubtNotes(summaries)));
    line.append(cell("td", summaries.flatMap((one) => one.flags.map((flag) => flag.note)).join("; ")));
    return line;
  }));
  byId("more").hidden = next === null;
}

function cell(kind, text) {
  return Object.assign(document.createElement(kind), { textContent: text });
}

function toCSV() {
  const roles = [...new Set(rows.flatMap((row) => row.result?.summaries.map((one) => one.role) ?? []))];
  const quote = (text) => {
    const safe = /^[=+\-@＝＋－＠\t\r\n]/.test(text) ? `'${text}` : text; // no formula for a spreadsheet
    return `"${safe.replaceAll('"', '""')}"`;
  };
  const lines = rows.map((row) => [
    row.id, ...roles.map((role) => row.result?.summaries.find((one) => one.role === role)?.text ?? ""),
    doubtNotes(row.result?.summaries ?? []), row.problem?.detail ?? "",
  ]);
  return [["id", ...roles, "doubtful", "problem"], ...lines].map((line) => line.map(quote).join(",")).join("\r\n") + "\r\n";
}
