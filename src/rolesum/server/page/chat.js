// The dialogue as a chat, with editable turns and a role for each speaker.

import { t, roleName } from "./i18n.js";

const list = document.getElementById("chat");
const speakersBox = document.getElementById("speakers");

export const roleClass = (role) => (["user", "agent", "overall"].includes(role) ? `tint-${role}` : "tint-other");

let dialogue = null;
let onChangeCallback = () => {};
let choices = ["user", "agent"];

export const current = () => dialogue;

export function onChange(call) { onChangeCallback = call; }

// Sets the roles that a speaker can have: user, agent, and those of the chosen sections.
export function setRoleChoices(roles) {
  choices = ["user", "agent", ...roles.filter((role) => !["user", "agent", "overall"].includes(role))];
  if (dialogue) renderSpeakers();
}

export function show(given) {
  dialogue = { id: given.id, turns: given.turns.map((turn) => ({ ...turn })), roles: Object.assign(Object.create(null), given.roles) };
  renderSpeakers();
  list.replaceChildren(...dialogue.turns.map(renderTurn));
}

// The dialogue of a request, without empty turns and without the roles of speakers that have no turn.
export function toRequest() {
  const turns = dialogue.turns.filter((turn) => turn.text.trim()).map(({ speaker, text, time }) => ({ speaker, text, time }));
  const heard = new Set(turns.map((turn) => turn.speaker));
  const roles = Object.fromEntries(Object.entries(dialogue.roles).filter(([label, role]) => role && heard.has(label)));
  return { id: dialogue.id, turns, roles };
}

// The indexes of the sent turns among the shown ones.
export const sentTurnIndexes = () => dialogue.turns.flatMap((turn, place) => (turn.text.trim() ? [place] : []));

// Highlights turns and scrolls the chat to the first of them; with a `target` the page too, whose focus it gets.
export function highlight(places, target = null) {
  const rows = [...list.children];
  rows.forEach((row, place) => row.classList.toggle("evidence", places.includes(place)));
  const row = rows[target ?? Math.min(...places)];
  if (!row) return;
  list.scrollTop = row.offsetTop - list.offsetTop - 40;
  if (target === null) return;
  const { top, bottom } = row.getBoundingClientRect();
  if (top < 0 || bottom > window.innerHeight) row.scrollIntoView({ block: "center" }); // a narrow screen has one column
  row.focus({ preventScroll: true });
}

function renderSpeakers() {
  const labels = [...new Set(dialogue.turns.map((turn) => turn.speaker))];
  speakersBox.replaceChildren(...labels.map((label) => {
    const box = document.createElement("label");
    box.className = roleClass(dialogue.roles[label]);
    const select = document.createElement("select");
    select.setAttribute("aria-label", t("roleof", { speaker: label }));
    for (const role of ["", ...choices]) select.add(new Option(role ? roleName(role) : t("noone"), role));
    select.value = dialogue.roles[label] ?? "";
    select.addEventListener("change", () => {
      if (select.value) dialogue.roles[label] = select.value; else delete dialogue.roles[label];
      box.className = roleClass(select.value);
      [...list.children].forEach((row, place) => {
        if (dialogue.turns[place].speaker === label) row.className = roleClass(select.value);
      });
      onChangeCallback();
    });
    box.append(label, select);
    return box;
  }));
}

function renderTurn(turn, place) {
  const row = Object.assign(document.createElement("li"), { id: `turn-${place + 1}`, tabIndex: -1 });
  row.className = roleClass(dialogue.roles[turn.speaker]);
  const who = document.createElement("span");
  who.className = "who";
  who.textContent = `${place + 1} · ${turn.speaker}`;
  if (turn.shown_time) who.append(" ", Object.assign(document.createElement("span"), { className: "when", textContent: turn.shown_time, title: turn.time }));
  const said = document.createElement("span");
  said.className = "said";
  said.contentEditable = "plaintext-only";
  said.setAttribute("role", "textbox");
  said.setAttribute("aria-label", t("turnedit", { n: place + 1 }));
  said.textContent = turn.text;
  said.addEventListener("input", () => {
    turn.text = said.textContent;
    onChangeCallback();
  });
  let before = turn.text;
  said.addEventListener("focus", () => { before = turn.text; });
  said.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && turn.text !== before) {
      turn.text = before;
      said.textContent = before;
    }
    if (event.key === "Escape" || (event.key === "Enter" && !event.ctrlKey && !event.metaKey)) {
      event.preventDefault();
      said.blur();
    }
  });
  row.append(who, said);
  return row;
}
