// The page: read a transcript, choose roles, watch the summaries.

import { get, post, postForBlob, showProblem, stream } from "./api.js";
import { refresh, initBatches, renderChosen } from "./batches.js";
import * as chat from "./chat.js";
import { toFormData, setFormats, inputOptions, acceptFiles } from "./input.js";
import { asMarkdown, copyText, download, Results } from "./results.js";
import { currentLocale, presetName, roleName, SAMPLES, setLocale, t } from "./i18n.js";
import { close as closePanel } from "./statements.js";

const byId = (id) => document.getElementById(id);
let info = null;
let results = null;
let abortController = null;
let dialogues = []; // of the last text
let suggested = ["overall"];
let detectedFormat = "";
let rolesPicked = false; // whether the user chose the roles
const RERANK = { samples: 4, temperature: 0.7 }; // the texts of which the best supported is taken

// Input

function inputSettings() {
  const sections = byId("preset").value;
  return { ...inputOptions(byId("input")), ...(sections ? { sections } : {}) };
}

const readText = (text) => parseInput({ ...inputSettings(), text });
const readFile = (file) => parseInput(toFormData(file, inputSettings()));

// Reads a dialogue and shows it. Returns false if it could not be read.
async function parseInput(body) {
  try {
    showProblem(byId("problem"), null);
    const found = await post("/v1/dialogues", body);
    dialogues = found.dialogues;
    detectedFormat = found.format;
    byId("which").replaceChildren(...dialogues.map((one, place) => new Option(one.id, place)));
    byId("which").hidden = dialogues.length < 2;
    showFormat(found.total);
    selectDialogue(0);
    return true;
  } catch (error) {
    showProblem(byId("problem"), error);
    return false;
  }
}

const isRead = () => byId("input").hidden;

// Disables the buttons while there is nothing to summarize, and shows a note beside them that asks for a transcript.
function showReadiness() {
  const isReady = isRead() || byId("text").value.trim() !== "";
  byId("go").disabled = !isReady;
  byId("read").disabled = !isReady;
  byId("reason").hidden = isReady;
  byId("shortcut").hidden = !isReady;
}

// Clears the format and the error that were shown for the text before.
function textChanged() {
  detectedFormat = "";
  showFormat(0);
  showProblem(byId("problem"), null);
  showReadiness();
}

function showFormat(total = dialogues.length) {
  const more = total > dialogues.length ? ` · ${t("of", { n: dialogues.length, total })}` : "";
  byId("format").textContent = detectedFormat ? t("format", { format: detectedFormat }) + more : "";
}

function selectDialogue(place) {
  const dialogue = dialogues[place];
  rolesPicked = false;
  clearResults();
  chat.show(dialogue);
  suggested = dialogue.suggested;
  byId("chat-panel").hidden = false;
  byId("input").hidden = true;
  showReadiness();
  renderRoles();
}

// The summaries belong to the dialogue that was shown before.
function clearResults() {
  abortController?.abort();
  closePanel();
  results = null;
  byId("results").replaceChildren();
  byId("results").classList.remove("stale");
  byId("after").hidden = true;
}

function reset() {
  clearResults();
  byId("chat-panel").hidden = true;
  byId("input").hidden = false;
  textChanged();
  byId("text").focus();
}

// Roles

function availableRoles() {
  const preset = byId("preset").value;
  return preset ? Object.entries(info.sections[preset][currentLocale()]) : ["overall", "user", "agent"].map((role) => [role, roleName(role)]);
}

function renderRoles() {
  const rolesOfSpeakers = new Set(Object.values(chat.current()?.roles ?? {}));
  const preset = byId("preset").value;
  const chosen = new Set(rolesPicked ? chosenRoles() : []);
  const isOn = (role) => (rolesPicked ? chosen.has(role) : preset ? true : role === "overall" || rolesOfSpeakers.has(role) || suggested.includes(role) && !chat.current());
  byId("roles").replaceChildren(...availableRoles().map(([role, title]) => {
    const box = document.createElement("label");
    box.className = `pick ${chat.roleClass(role)}`;
    const tick = Object.assign(document.createElement("input"), { type: "checkbox", value: role, checked: isOn(role) });
    tick.addEventListener("change", () => { rolesPicked = true; });
    box.append(tick, title);
    return box;
  }));
  chat.setRoleChoices(availableRoles().map(([role]) => role));
}

const chosenRoles = () => [...byId("roles").querySelectorAll(":checked")].map((one) => one.value);

// Models

const chosenModels = () => [byId("model").value, byId("against").value].filter((name, place, all) => name && all.indexOf(name) === place);

const canVerify = (name) => Boolean(info.models.find((one) => one.name === name)?.verifies);

// The options that say what becomes of doubtful statements, for a model that finds them.
function verifyOptions(name) {
  const verify = byId("verify").value;
  return canVerify(name) ? { verify, ...(verify === "rerank" ? RERANK : {}) } : {};
}

function showVerify() {
  const models = chosenModels();
  const unable = models.filter((name) => !canVerify(name));
  byId("verify").disabled = unable.length === models.length;
  byId("cannotverify").textContent = unable.length ? t("cannotverify", { models: unable.join(", ") }) : "";
}

// Summarize

async function summarize() {
  if (abortController || byId("go").disabled) return;
  if (!isRead() && !await readText(byId("text").value)) return;
  const roles = chosenRoles();
  if (!roles.length) {
    showProblem(byId("problem"), new Error(t("norole")));
    return;
  }
  const models = chosenModels();
  closePanel();
  results = new Results(models, roles, chat.sentTurnIndexes());
  results.dialogue = chat.toRequest(); // that the summaries are of: the chat may be edited afterwards
  abortController = new AbortController();
  setBusy(true);
  showProblem(byId("problem"), null);
  chat.highlight([]);
  byId("results").classList.remove("stale");
  const started = performance.now();
  const body = {
    dialogue: results.dialogue,
    roles,
    ...(byId("preset").value ? { sections: byId("preset").value } : {}),
    ...(byId("language").value ? { language: byId("language").value } : {}),
  };
  const options = { max_new_tokens: Number(byId("length").value) || null, redact: byId("redact").checked };
  const current = results;
  try {
    await Promise.all(models.map((model) => stream("/v1/summaries", { ...body, model, options: { ...options, ...verifyOptions(model) } }, {
      progress: (data) => showProgress(data),
      text: (data) => current.append(model, data),
      summary: (data) => current.complete(model, data),
      done: (data) => current.finish(model, data),
    }, abortController.signal)));
    byId("seconds").textContent = t("seconds", { value: ((performance.now() - started) / 1000).toFixed(1) });
  } catch (error) {
    abortController?.abort();
    if (error.name !== "AbortError") showProblem(byId("problem"), error);
  } finally {
    setBusy(false);
    if (current === results) {
      current.stop();
      byId("after").hidden = !current.responses.size;
    }
  }
}

// Says how far a long dialogue is read, beside the button that stops it.
function showProgress(parts) {
  byId("progress").textContent = parts ? t("part", parts) : "";
}

function setBusy(isBusy) {
  showProgress(null);
  byId("go").hidden = isBusy;
  byId("stop").hidden = !isBusy;
  if (!isBusy) abortController = null;
}

// Downloads the summaries with evidence and transcript. Of two models, the name of each stands beside the role.
async function exportDocument(format) {
  const found = responses();
  const title = (one) => (["overall", "user", "agent"].includes(one.role) ? roleName(one.role) : one.title);
  const named = (response, one) => ({ ...one, title: found.length > 1 ? `${title(one)} · ${response.model}` : title(one) });
  const summaries = found.flatMap((response) => response.summaries.map((one) => named(response, one)));
  try {
    download(`summaries.${format}`, await postForBlob("/v1/documents", { dialogue: results.dialogue, summaries, format }));
  } catch (error) {
    showProblem(byId("problem"), error);
  }
}

const responses = () => [...results.responses.values()];

// Tabs

function openTab(name) {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const isOpen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(isOpen));
    tab.tabIndex = isOpen ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !isOpen;
  }
  if (name === "many") refresh();
}

// Choices and texts

function fill(select, entries, kept = select.value) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  if (entries.some(([value]) => value === kept)) select.value = kept;
}

function render() {
  setLocale();
  const models = info.models.map((one) => [one.name, one.name]);
  const presets = [["", t("byroles")], ...Object.keys(info.sections).map((name) => [name, presetName(name)])];
  for (const id of ["preset", "manypreset"]) fill(byId(id), presets);
  for (const id of ["model", "manymodel"]) fill(byId(id), models);
  fill(byId("against"), [["", t("noother")], ...models]);
  setFormats(Object.keys(info.formats), t("anyformat"));
  byId("against-label").hidden = models.length < 2;
  renderRoles();
  showVerify();
  showFormat();
  renderChosen();
  showReadiness();
}

function addListeners() {
  byId("text").addEventListener("input", textChanged);
  byId("read").addEventListener("click", () => readText(byId("text").value));
  byId("text").addEventListener("paste", () => setTimeout(() => readText(byId("text").value)));
  byId("sample").addEventListener("click", () => {
    const { languages } = info.models.find((one) => one.name === byId("model").value);
    byId("text").value = SAMPLES[languages.includes(currentLocale()) ? currentLocale() : languages[0]] ?? SAMPLES.en;
    readText(byId("text").value);
  });
  acceptFiles(byId("input"), byId("file"), readFile);
  byId("which").addEventListener("change", (event) => selectDialogue(Number(event.target.value)));
  byId("back").addEventListener("click", reset);
  byId("preset").addEventListener("change", () => {
    rolesPicked = false;
    renderRoles();
  });
  for (const id of ["model", "against"]) byId(id).addEventListener("change", showVerify);
  byId("go").addEventListener("click", summarize);
  byId("stop").addEventListener("click", () => abortController?.abort());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    if (document.activeElement === byId("text")) readText(byId("text").value); else summarize();
  });
  byId("copy").addEventListener("click", () => copyText(asMarkdown(responses()), byId("copy")));
  byId("json").addEventListener("click", () => {
    const found = responses();
    download("summaries.json", JSON.stringify(found.length > 1 ? found : found[0], null, 2), "application/json");
  });
  for (const [id, format] of [["markdown", "md"], ["docx", "docx"]]) byId(id).addEventListener("click", () => exportDocument(format));
  const tabs = [...document.querySelectorAll("[role=tab]")];
  for (const tab of tabs) {
    tab.addEventListener("click", () => openTab(tab.id.slice(4)));
    tab.addEventListener("keydown", (event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      const other = tabs[(tabs.indexOf(tab) + 1) % tabs.length];
      openTab(other.id.slice(4));
      other.focus();
    });
  }
  byId("locale").value = currentLocale();
  byId("locale").addEventListener("change", (event) => {
    setLocale(event.target.value);
    render();
  });
  chat.onChange(() => {
    byId("results").classList.add("stale");
    renderRoles();
  });
}

setLocale();
try {
  info = await get("/v1/info");
  const length = byId("length");
  length.max = info.limits.max_new_tokens;
  length.value = Math.min(length.value, length.max);
  addListeners();
  initBatches();
  render();
} catch (error) {
  showProblem(byId("problem"), error);
}
