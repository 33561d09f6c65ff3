// The page put together: read a transcript, choose roles, watch the summaries.

import { get, post, showProblem, stream } from "./api.js";
import { refresh, startBulk } from "./bulk.js";
import * as chat from "./chat.js";
import { formOf, offerFormats, readingOf, takesFiles } from "./reading.js";
import { asMarkdown, copyText, download, Results } from "./results.js";
import { language, roleWord, SAMPLES, speak, word } from "./i18n.js";

const byId = (id) => document.getElementById(id);
let setup = null;
let results = null;
let stopping = null;
let read = []; // the dialogues of the last text
let suggested = ["overall"];
let form = "";
let picked = false; // whether the roles were chosen by hand

// Read

function how() {
  const sections = byId("preset").value;
  return { ...readingOf(byId("input")), ...(sections ? { sections } : {}) };
}

const readText = (text) => readWith({ ...how(), text });
const readFile = (file) => readWith(formOf(file, how()));

async function readWith(body) {
  try {
    showProblem(byId("problem"), null);
    const found = await post("/v1/dialogues", body);
    read = found.dialogues;
    form = found.format;
    byId("which").replaceChildren(...read.map((one, place) => new Option(one.id, place)));
    byId("which").hidden = read.length < 2;
    tellFormat(found.total);
    choose(0);
  } catch (error) {
    showProblem(byId("problem"), error);
  }
}

function tellFormat(total = read.length) {
  const more = total > read.length ? ` · ${word("of", { n: read.length, total })}` : "";
  byId("format").textContent = form ? word("format", { format: form }) + more : "";
}

function choose(place) {
  const one = read[place];
  picked = false;
  forget();
  chat.show(one);
  suggested = one.suggested;
  byId("chat-panel").hidden = false;
  byId("input").hidden = true;
  byId("go").disabled = false;
  drawRoles();
}

// Summaries are of the dialogue that was: without it they are nothing.
function forget() {
  stopping?.abort();
  results = null;
  byId("results").replaceChildren();
  byId("results").classList.remove("stale");
  byId("after").hidden = true;
}

function startAnew() {
  forget();
  byId("chat-panel").hidden = true;
  byId("input").hidden = false;
  byId("go").disabled = true;
  byId("text").focus();
}

// Roles

function namesOffered() {
  const preset = byId("preset").value;
  return preset ? Object.entries(setup.sections[preset][language()]) : ["overall", "user", "agent"].map((role) => [role, roleWord(role)]);
}

function drawRoles() {
  const played = new Set(Object.values(chat.current()?.roles ?? {}));
  const preset = byId("preset").value;
  const chosen = new Set(picked ? chosenRoles() : []);
  const isOn = (role) => (picked ? chosen.has(role) : preset ? true : role === "overall" || played.has(role) || suggested.includes(role) && !chat.current());
  byId("roles").replaceChildren(...namesOffered().map(([role, title]) => {
    const box = document.createElement("label");
    box.className = `pick ${chat.tintOf(role)}`;
    const tick = Object.assign(document.createElement("input"), { type: "checkbox", value: role, checked: isOn(role) });
    tick.addEventListener("change", () => { picked = true; });
    box.append(tick, title);
    return box;
  }));
  chat.offer(namesOffered().map(([role]) => role));
}

const chosenRoles = () => [...byId("roles").querySelectorAll(":checked")].map((one) => one.value);

// Summarize

async function go() {
  const roles = chosenRoles();
  if (!chat.current() || stopping) return;
  if (!roles.length) {
    showProblem(byId("problem"), new Error(word("norole")));
    return;
  }
  const models = [byId("model").value, byId("against").value].filter((name, place, all) => name && all.indexOf(name) === place);
  const places = chat.shownPlaces();
  const evidence = (turns) => chat.highlight(turns.map((turn) => places[turn]));
  results = new Results(models, roles, evidence);
  stopping = new AbortController();
  busy(true);
  showProblem(byId("problem"), null);
  chat.highlight([]);
  byId("results").classList.remove("stale");
  const begun = performance.now();
  const body = {
    dialogue: chat.asked(),
    roles,
    options: { max_new_tokens: Number(byId("length").value) || null, redact: byId("redact").checked },
    ...(byId("preset").value ? { sections: byId("preset").value } : {}),
    ...(byId("language").value ? { language: byId("language").value } : {}),
  };
  const mine = results;
  try {
    await Promise.all(models.map((model) => stream("/v1/summaries", { ...body, model }, {
      text: (data) => mine.grow(model, data),
      summary: (data) => mine.end(model, data),
      done: (data) => mine.done(model, data),
    }, stopping.signal)));
    byId("seconds").textContent = word("seconds", { value: ((performance.now() - begun) / 1000).toFixed(1) });
  } catch (error) {
    stopping?.abort();
    if (error.name !== "AbortError") showProblem(byId("problem"), error);
  } finally {
    busy(false);
    if (mine === results) {
      mine.stop();
      byId("after").hidden = !mine.answers.size;
    }
  }
}

function busy(is) {
  byId("go").hidden = is;
  byId("stop").hidden = !is;
  if (!is) stopping = null;
}

const answers = () => [...results.answers.values()];

// Tabs

function openTab(name) {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const is = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(is));
    tab.tabIndex = is ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !is;
  }
  if (name === "many") refresh();
}

// Words and models

function fill(select, entries, kept = select.value) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  if (entries.some(([value]) => value === kept)) select.value = kept;
}

function draw() {
  speak();
  const models = setup.models.map((one) => [one.name, one.name]);
  const presets = [["", word("byroles")], ...Object.keys(setup.sections).map((name) => [name, name])];
  for (const id of ["preset", "manypreset"]) fill(byId(id), presets);
  for (const id of ["model", "manymodel"]) fill(byId(id), models);
  fill(byId("against"), [["", word("noother")], ...models]);
  offerFormats(Object.keys(setup.formats), word("anyformat"));
  byId("against-label").hidden = models.length < 2;
  drawRoles();
  tellFormat();
}

function listen() {
  byId("read").addEventListener("click", () => readText(byId("text").value));
  byId("text").addEventListener("paste", () => setTimeout(() => readText(byId("text").value)));
  byId("sample").addEventListener("click", () => {
    const { languages } = setup.models.find((one) => one.name === byId("model").value);
    byId("text").value = SAMPLES[languages.includes(language()) ? language() : languages[0]] ?? SAMPLES.en;
    readText(byId("text").value);
  });
  takesFiles(byId("input"), byId("file"), readFile);
  byId("which").addEventListener("change", (event) => choose(Number(event.target.value)));
  byId("back").addEventListener("click", startAnew);
  byId("preset").addEventListener("change", () => {
    picked = false;
    drawRoles();
  });
  byId("go").addEventListener("click", go);
  byId("stop").addEventListener("click", () => stopping?.abort());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    if (document.activeElement === byId("text")) readText(byId("text").value); else go();
  });
  byId("copy").addEventListener("click", () => copyText(asMarkdown(answers()), byId("copy")));
  byId("json").addEventListener("click", () => {
    const found = answers();
    download("summaries.json", JSON.stringify(found.length > 1 ? found : found[0], null, 2), "application/json");
  });
  byId("markdown").addEventListener("click", () => download("summaries.md", asMarkdown(answers()), "text/markdown"));
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
  byId("locale").value = language();
  byId("locale").addEventListener("change", (event) => {
    speak(event.target.value);
    draw();
  });
  chat.onChange(() => {
    byId("results").classList.add("stale");
    drawRoles();
  });
}

speak();
try {
  setup = await get("/v1/setup");
  const length = byId("length");
  length.max = setup.limits.new_tokens;
  length.value = Math.min(length.value, length.max);
  listen();
  startBulk();
  draw();
} catch (error) {
  showProblem(byId("problem"), error);
}
