// The summaries: they grow, then show their evidence and what the checks object to.

import { roleWord, word } from "./i18n.js";
import { tintOf } from "./chat.js";

const box = document.getElementById("results");

// One card for each model and role. `onEvidence` is told the places of turns.
export class Results {
  constructor(models, roles, onEvidence) {
    this.onEvidence = onEvidence;
    this.cards = new Map();
    this.answers = new Map();
    this.pair = models.length > 1;
    box.classList.toggle("pair", this.pair);
    const cards = roles.flatMap((role) => models.map((model) => this.card(model, role)));
    box.replaceChildren(...cards.map((card) => card.root));
  }

  card(model, role) {
    const root = document.createElement("article");
    root.className = `card growing ${tintOf(role)}`;
    const heading = document.createElement("h3");
    heading.textContent = roleWord(role);
    const which = document.createElement("span");
    which.className = "note";
    which.textContent = this.pair ? model : "";
    const text = document.createElement("p");
    const after = document.createElement("div");
    after.className = "bar";
    root.append(heading, which, text, after);
    const card = { root, heading, text, after };
    this.cards.set(`${model}\n${role}`, card);
    return card;
  }

  grow(model, { role, text }) {
    this.cards.get(`${model}\n${role}`).text.append(text);
  }

  end(model, summary) {
    const card = this.cards.get(`${model}\n${summary.role}`);
    card.root.classList.remove("growing");
    if (!["overall", "user", "agent"].includes(summary.role)) card.heading.textContent = summary.title;
    card.text.replaceChildren(...pieces(summary, (sentence, button) => this.press(sentence, button)));
    const note = document.createElement("span");
    note.className = "note";
    note.textContent = noteOf(summary);
    const copy = document.createElement("button");
    copy.className = "quiet";
    copy.textContent = word("copy");
    copy.addEventListener("click", () => copyText(summary.text, copy));
    card.after.replaceChildren(note, Object.assign(document.createElement("span"), { className: "spring" }), copy);
    if (summary.flags.length) card.root.insertBefore(this.flags(summary), card.after);
  }

  done(model, answer) { this.answers.set(model, answer); }

  // What has not ended says so; what has not begun goes.
  stop() {
    for (const card of this.cards.values()) {
      if (!card.root.classList.contains("growing")) continue;
      card.root.classList.remove("growing");
      if (card.text.textContent) card.after.append(Object.assign(document.createElement("span"), { className: "note", textContent: word("stopped") }));
      else card.root.remove();
    }
  }

  press(sentence, button) {
    const pressed = button.getAttribute("aria-pressed") === "true";
    for (const one of box.querySelectorAll("[aria-pressed=true]")) one.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", String(!pressed));
    this.onEvidence(pressed ? [] : sentence.turns);
  }

  flags(summary) {
    const list = document.createElement("ul");
    list.className = "flags";
    for (const flag of summary.flags) {
      const button = document.createElement("button");
      button.textContent = `⚠ ${chars(summary.text, flag.start, flag.end).slice(0, 60)}: ${flag.note}`;
      button.addEventListener("click", () => this.onEvidence(flag.turns));
      const item = document.createElement("li");
      item.append(button);
      list.append(item);
    }
    return list;
  }
}

// Places count characters as Python does: an emoji is one.
const chars = (text, start, end) => [...text].slice(start, end).join("");

// The text cut at every sentence's and flag's edge.
function pieces(summary, press) {
  const { text, sentences, flags } = summary;
  const length = [...text].length;
  const edges = new Set([0, length, ...sentences.flatMap((one) => [one.start, one.end]), ...flags.flatMap((one) => [one.start, one.end])]);
  const places = [...edges].sort((one, other) => one - other);
  const spans = new Map();
  const found = [];
  for (let n = 0; n + 1 < places.length; n += 1) {
    const [start, end] = [places[n], places[n + 1]];
    const piece = document.createElement("span");
    piece.textContent = chars(text, start, end);
    const flagged = flags.filter((one) => one.start <= start && end <= one.end && one.start < one.end);
    if (flagged.length) {
      piece.className = "flagged";
      piece.title = flagged.map((one) => one.note).join("; ");
    }
    const sentence = sentences.find((one) => one.start <= start && end <= one.end);
    if (!sentence) {
      found.push(piece);
      continue;
    }
    if (!spans.has(sentence)) {
      const button = document.createElement("span");
      button.className = "sentence";
      button.tabIndex = 0;
      button.setAttribute("role", "button");
      button.setAttribute("aria-pressed", "false");
      button.title = sentence.turns.length
        ? word("evidence", { turns: sentence.turns.map((turn) => turn + 1).join(", ") })
        : word("noevidence");
      button.addEventListener("click", () => press(sentence, button));
      button.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          press(sentence, button);
        }
      });
      spans.set(sentence, button);
      found.push(button);
    }
    spans.get(sentence).append(piece);
  }
  return found;
}

function noteOf(summary) {
  const notes = [];
  if (summary.confidence !== null) notes.push(word("confidence", { value: summary.confidence.toFixed(2) }));
  if (summary.finish_reason === "length") notes.push(word("cut"));
  if (summary.coverage) notes.push(word("coverage", summary.coverage));
  return notes.join(" · ");
}

export async function copyText(text, button) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else copyByHand(text); // a page that came over plain HTTP from another machine
  const before = button.textContent;
  button.textContent = word("copied");
  setTimeout(() => { button.textContent = before; }, 1200);
}

function copyByHand(text) {
  const area = Object.assign(document.createElement("textarea"), { value: text, className: "hidden" });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

export function asMarkdown(answers) {
  const parts = answers.map((answer) => {
    const head = answers.length > 1 ? `## ${answer.model}\n\n` : "";
    return head + answer.summaries.map((one) => `### ${roleWord(one.role)}\n\n${one.text}\n`).join("\n");
  });
  return `# ${answers[0].id}\n\n${parts.join("\n")}`;
}

export function download(name, content, kind) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
