// Many dialogues: send a file, watch how far it is, see the table.

import { file, get, post, remove, showProblem } from "./api.js";
import { formOf, readingOf, takesFiles } from "./reading.js";
import { download } from "./results.js";
import { language, roleWord, word } from "./i18n.js";

const byId = (id) => document.getElementById(id);
const PAGE = 100;

let shown = null; // the batch whose table is open
let rows = [];
let next = 0;
let timer = null;
const lines = new Map(); // of the batches that are drawn: what is focused stays while figures change

export function startBulk() {
  takesFiles(byId("manyinput"), byId("manyfile"), add);
  byId("more").addEventListener("click", () => more());
  byId("jsonl").addEventListener("click", async () => download(`${shown}.jsonl`, await file(`/v1/batches/${shown}/results.jsonl`)));
  byId("csv").addEventListener("click", async () => {
    await reload();
    while (next !== null) await more();
    download(`${shown}.csv`, `\uFEFF${asCsv()}`, "text/csv");
  });
}

async function add(chosen) {
  const fields = { ...readingOf(byId("manyinput")), model: byId("manymodel").value };
  if (byId("manypreset").value) fields.sections = byId("manypreset").value;
  try {
    showProblem(byId("manyproblem"), null);
    const batch = await post("/v1/batches", formOf(chosen, fields));
    showProblem(byId("manyproblem"), null);
    await refresh();
    open(batch.id);
  } catch (error) {
    showProblem(byId("manyproblem"), error);
  }
}

// Draws the list of batches, and comes again while one of them runs.
export async function refresh() {
  clearTimeout(timer);
  let batches;
  try {
    ({ batches } = await get("/v1/batches"));
  } catch (error) {
    showProblem(byId("manyproblem"), error);
    return;
  }
  const drawn = batches.map(lineOf);
  const box = byId("batches");
  if (drawn.length !== box.children.length || drawn.some((line, place) => line !== box.children[place])) box.replaceChildren(...drawn);
  const mine = batches.find((one) => one.id === shown);
  if (mine && rows.some((row) => row.status === "waiting")) await reload();
  if (!byId("many").hidden && batches.some((one) => one.ended === null)) timer = setTimeout(refresh, 1000);
}

function lineOf(batch) {
  const kind = `${batch.ended === null} ${language()}`;
  if (lines.get(batch.id)?.kind !== kind) lines.set(batch.id, { kind, ...newLine(batch) });
  const { line, bar, told } = lines.get(batch.id);
  bar.value = batch.done + batch.failed;
  const failed = batch.failed ? `, ${word("failed", { n: batch.failed })}` : "";
  told.textContent = `${batch.done + batch.failed} / ${batch.total} · ${word(batch.status)}${failed}`;
  return line;
}

function newLine(batch) {
  const line = document.createElement("div");
  line.className = "panel batch";
  const bar = document.createElement("progress");
  bar.max = batch.total;
  bar.setAttribute("aria-label", batch.id);
  const told = document.createElement("span");
  const when = document.createElement("span");
  when.className = "note";
  when.textContent = `${new Date(batch.created * 1000).toLocaleString()} · ${batch.model}`;
  const spring = Object.assign(document.createElement("span"), { className: "spring" });
  line.append(bar, told, when, spring, button("show", () => open(batch.id)));
  if (batch.ended === null) line.append(button("cancel", async () => { await post(`/v1/batches/${batch.id}/cancel`); refresh(); }));
  else line.append(button("remove", async () => {
    if (!confirm(word("sure"))) return;
    await remove(`/v1/batches/${batch.id}`);
    if (shown === batch.id) { shown = null; byId("batch").hidden = true; }
    refresh();
  }));
  return { line, bar, told };
}

function button(name, call) {
  const made = document.createElement("button");
  made.className = "quiet";
  made.textContent = word(name);
  made.addEventListener("click", call);
  return made;
}

async function open(id) {
  shown = id;
  rows = [];
  next = 0;
  byId("batch").hidden = false;
  byId("batchtitle").textContent = id;
  await refresh();
  await more();
}

async function more() {
  const found = await get(`/v1/batches/${shown}/results?offset=${next}&limit=${PAGE}`);
  rows.push(...found.results);
  next = found.next;
  draw();
}

// What is shown already, again: some of it is done by now.
async function reload() {
  if (!rows.length) return;
  const found = await get(`/v1/batches/${shown}/results?offset=0&limit=${Math.min(1000, Math.max(PAGE, rows.length))}`);
  rows = found.results;
  next = found.next;
  draw();
}

function draw() {
  const roles = [...new Set(rows.flatMap((row) => row.result?.summaries.map((one) => one.role) ?? []))];
  const head = document.createElement("tr");
  for (const text of [word("id"), ...roles.map(roleWord), word("flagscolumn")]) head.append(cell("th", text));
  byId("table").tHead.replaceChildren(head);
  byId("table").tBodies[0].replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr");
    line.append(cell("td", row.id));
    const summaries = row.result?.summaries ?? [];
    if (row.status === "failed") {
      const told = cell("td", `${row.problem.detail} ${row.problem.fix}`);
      told.colSpan = roles.length + 1;
      told.className = "problem";
      line.append(told);
      return line;
    }
    for (const role of roles) line.append(cell("td", summaries.find((one) => one.role === role)?.text ?? (row.result ? "" : "…")));
    line.append(cell("td", summaries.flatMap((one) => one.flags.map((flag) => flag.note)).join("; ")));
    return line;
  }));
  byId("more").hidden = next === null;
}

function cell(kind, text) {
  return Object.assign(document.createElement(kind), { textContent: text });
}

function asCsv() {
  const roles = [...new Set(rows.flatMap((row) => row.result?.summaries.map((one) => one.role) ?? []))];
  const quote = (text) => {
    const safe = /^[=+\-@＝＋－＠\t\r\n]/.test(text) ? `'${text}` : text; // no formula for a spreadsheet
    return `"${safe.replaceAll('"', '""')}"`;
  };
  const lines = rows.map((row) => [
    row.id, ...roles.map((role) => row.result?.summaries.find((one) => one.role === role)?.text ?? ""),
    row.problem?.detail ?? "",
  ]);
  return [["id", ...roles, "problem"], ...lines].map((line) => line.map(quote).join(",")).join("\r\n") + "\r\n";
}
