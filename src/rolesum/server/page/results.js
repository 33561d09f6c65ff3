// The summaries: shown while they are generated, then with their statements, evidence and flags.

import { roleName, t } from "./i18n.js";
import { highlight, roleClass } from "./chat.js";
import { doubtfulWords, droppedList, droppedWords, finishUnit, isVerified, quotedFor, unitsOf, unitWithPanel, verdictLine } from "./statements.js";

const box = document.getElementById("results");

// One card for each model and role. `places` are those of the sent turns in the chat.
export class Results {
  constructor(models, roles, places) {
    this.places = places;
    this.cards = new Map();
    this.responses = new Map();
    this.isComparison = models.length > 1;
    box.classList.toggle("pair", this.isComparison);
    const cards = roles.flatMap((role) => models.map((model) => this.card(model, role)));
    box.replaceChildren(...cards.map((card) => card.root));
  }

  card(model, role) {
    const root = document.createElement("article");
    root.className = `card growing ${roleClass(role)}`;
    const heading = document.createElement("h3");
    heading.textContent = roleName(role);
    const which = document.createElement("span");
    which.className = "note";
    which.textContent = this.isComparison ? model : "";
    const text = document.createElement("p");
    const after = document.createElement("div");
    after.className = "bar";
    root.append(heading, which, text, after);
    const card = { root, heading, text, after };
    this.cards.set(`${model}\n${role}`, card);
    return card;
  }

  append(model, { role, text }) {
    this.cards.get(`${model}\n${role}`).text.append(text);
  }

  complete(model, summary) {
    const card = this.cards.get(`${model}\n${summary.role}`);
    card.root.classList.remove("growing");
    if (!["overall", "user", "agent"].includes(summary.role)) card.heading.textContent = summary.title;
    card.text.replaceChildren(...textSpans(summary, this.places));
    if (isVerified(summary) && (summary.statements.length || summary.quotes?.length)) card.root.insertBefore(verdictLine(summary), card.text);
    if (droppedWords(summary).length) card.root.insertBefore(droppedList(summary), card.after);
    const note = document.createElement("span");
    note.className = "note";
    note.textContent = noteOf(summary);
    const copy = document.createElement("button");
    copy.className = "quiet";
    copy.textContent = t("copy");
    copy.addEventListener("click", () => copyText(summary.text, copy));
    card.after.replaceChildren(note, Object.assign(document.createElement("span"), { className: "spring" }), copy);
    const flags = flagsOf(summary);
    if (flags.length) card.root.insertBefore(this.flagList(summary, flags), card.after);
  }

  finish(model, response) { this.responses.set(model, response); }

  // Marks unfinished summaries as stopped and removes empty cards.
  stop() {
    for (const card of this.cards.values()) {
      if (!card.root.classList.contains("growing")) continue;
      card.root.classList.remove("growing");
      if (card.text.textContent) card.after.append(Object.assign(document.createElement("span"), { className: "note", textContent: t("stopped") }));
      else card.root.remove();
    }
  }

  flagList(summary, flags) {
    const list = document.createElement("ul");
    list.className = "flags";
    for (const flag of flags) {
      const button = document.createElement("button");
      button.textContent = `⚠ ${chars(summary.text, flag.start, flag.end).slice(0, 60)}: ${flag.note}`;
      button.addEventListener("click", () => {
        const places = flag.turns.map((turn) => this.places[turn]);
        highlight(places, places[0]);
      });
      const item = document.createElement("li");
      item.append(button);
      list.append(item);
    }
    return list;
  }
}

// Offsets count code points, as in Python: an emoji is one.
const chars = (text, start, end) => [...text].slice(start, end).join("");

// The text split at the boundaries of all statements (or sentences) and flags, each statement with its panel behind it.
function textSpans(summary, places) {
  const { text } = summary;
  const flags = flagsOf(summary);
  const units = unitsOf(summary);
  const length = [...text].length;
  const boundaries = [...new Set([0, length, ...[...units, ...flags].flatMap((one) => [one.start, one.end])])].sort((one, other) => one - other);
  const made = new Map();
  const found = [];
  for (let n = 0; n + 1 < boundaries.length; n += 1) {
    const [start, end] = [boundaries[n], boundaries[n + 1]];
    const piece = document.createElement("span");
    piece.textContent = chars(text, start, end);
    const flagged = flags.filter((one) => one.start <= start && end <= one.end && one.start < one.end);
    if (flagged.length) {
      piece.className = "flagged";
      piece.title = flagged.map((one) => one.note).join("; ");
    }
    const one = units.find((each) => each.start <= start && end <= each.end);
    if (!one) {
      found.push(piece);
      continue;
    }
    if (!made.has(one)) {
      const { unit, panel } = unitWithPanel(summary, one, places);
      made.set(one, unit);
      found.push(unit, panel);
    }
    made.get(one).append(piece);
  }
  for (const unit of made.values()) finishUnit(unit);
  return found;
}

// What the checks find, without what the note below the text says already: that it was cut off.
const flagsOf = (summary) => summary.flags.filter((one) => one.check !== "truncated" || summary.finish_reason !== "length");

function noteOf(summary) {
  const notes = [];
  if (summary.finish_reason === "length") notes.push(t("truncated"));
  if (summary.coverage) notes.push(t("coverage", summary.coverage));
  return notes.join(" · ");
}

export async function copyText(text, button) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else copyWithSelection(text); // the clipboard API needs HTTPS or localhost
  const before = button.textContent;
  button.textContent = t("copied");
  setTimeout(() => { button.textContent = before; }, 1200);
}

function copyWithSelection(text) {
  const area = Object.assign(document.createElement("textarea"), { value: text, className: "hidden" });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

export function asMarkdown(responses) {
  const parts = responses.map((response) => {
    const head = responses.length > 1 ? `## ${response.model}\n\n` : "";
    return head + response.summaries.map((one) => `### ${roleName(one.role)}\n\n${one.text}\n${notesInMarkdown(one)}`).join("\n");
  });
  return `# ${responses[0].id}\n\n${parts.join("\n")}`;
}

// What a reader of a file must know: which statements are doubtful, and which were left out or replaced by quotes.
function notesInMarkdown(summary) {
  const parts = [[t("maynotsay"), doubtfulWords(summary)], [t("dropped"), droppedWords(summary)]];
  const quoted = summary.quotes?.length ? `\n> ${quotedFor(summary)}\n` : "";
  return parts.filter(([, words]) => words.length).map(([head, words]) => `\n> ${head} ${words.join("; ")}\n`).join("") + quoted;
}

export function download(name, content, kind) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
