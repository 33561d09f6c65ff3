// The statements of a summary: a mark on each doubtful one, and a panel that says why, with links to the turns.

import { highlight } from "./chat.js";
import { t } from "./i18n.js";

const HIDE_MILLISECONDS = 200; // for the pointer to reach the panel

export const isVerified = (summary) => summary.support_threshold != null;

export const isDoubtful = (summary, one) => one.support !== null && one.support < summary.support_threshold;

// What is shown as one: a statement or a quote, or, of a model that does not verify, a sentence whose words are found in some turn.
export function unitsOf(summary) {
  if (!isVerified(summary)) return summary.sentences.filter((one) => one.turns.length);
  const quotes = quotesOf(summary).map((one) => ({ ...one, isQuote: true, support: null, turns: [one.turn], times: one.time ? [one.time] : [] }));
  return [...summary.statements, ...quotes];
}

const quotesOf = (summary) => summary.quotes ?? [];

export function element(kind, className, ...content) {
  const made = Object.assign(document.createElement(kind), { className });
  made.append(...content);
  return made;
}

// The mark of what is doubtful, which screen readers do not read.
export function doubtMark() {
  const mark = element("span", "mark", "?");
  mark.setAttribute("aria-hidden", "true");
  return mark;
}

// The threshold in percent, without the rounding errors of 100 * 0.29.
const percentOfThreshold = (summary) => Number((100 * summary.support_threshold).toPrecision(12));

// A percentage with the digits that show on which side of the threshold it is; 100 is for certainty only.
function percent(summary, one) {
  for (let digits = 0; digits < 16; digits += 1) {
    const share = Number((100 * one.support).toFixed(digits));
    const shown = share === 100 && one.support < 1 ? 99 : share;
    if ((shown < percentOfThreshold(summary)) === isDoubtful(summary, one)) return shown;
  }
  return 100 * one.support;
}

// The line above a verified summary: how many of its statements are doubtful, and how many could not be verified.
export function verdictLine(summary) {
  const total = summary.statements.length;
  const n = summary.statements.filter((one) => isDoubtful(summary, one)).length;
  const unknown = summary.statements.filter((one) => one.support === null).length;
  const line = element("div", n ? "verdict doubt" : "verdict");
  if (n) line.append(doubtMark(), " ");
  const hasQuotes = quotesOf(summary).length > 0;
  const parts = n ? [t("doubtful", { n, total })] : hasQuotes ? [] : [t("nodoubt", { total })];
  if (unknown) parts.push(t("unverified", { n: unknown }));
  if (hasQuotes) parts.push(quotedFor(summary));
  line.append(parts.join(" · "));
  return line;
}

// The doubtful statements in words, for tables and files.
export function doubtfulWords(summary) {
  if (!isVerified(summary)) return [];
  return summary.statements.filter((one) => isDoubtful(summary, one)).map((one) => named(summary, one));
}

// How many statements quotes stand for, in words.
export const quotedFor = (summary) => t("quotedfor", { n: summary.dropped.length });

// The statements that were left out, in words, where no quotes stand for them.
export function droppedWords(summary) {
  if (quotesOf(summary).length) return [];
  return (summary.dropped ?? []).map((one) => named(summary, one) + (isDoubtful(summary, one) ? "" : `; ${t("along")}`));
}

// What a table says of the doubtful statements of summaries: those marked, those left out, and how many quotes stand for.
export function doubtNotes(summaries) {
  const quoted = summaries.filter((one) => quotesOf(one).length).reduce((n, one) => n + one.dropped.length, 0);
  const left = summaries.flatMap(droppedWords);
  return [
    ...summaries.flatMap(doubtfulWords), ...(left.length ? [`${t("dropped")} ${left.join("; ")}`] : []), ...(quoted ? [t("quotedfor", { n: quoted })] : []),
  ].join("; ");
}

function named(summary, one) {
  return `${one.text} (${one.support === null ? t("unknown") : t("supportis", { value: percent(summary, one) })})`;
}

// The list of statements that were left out.
export function droppedList(summary) {
  const list = element("ul", "", ...droppedWords(summary).map((words) => element("li", "", words)));
  return element("div", "note", t("dropped"), list);
}

// Panels

let opened = null; // the unit and the panel that are shown, and whether they stay when pointer and focus leave
let numPanels = 0;

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !opened) return;
  if (opened.panel.contains(document.activeElement)) opened.unit.focus();
  close();
});
document.addEventListener("click", ({ target }) => {
  if (opened && ![opened.unit, opened.panel].some((one) => one.contains(target)) && !target.closest("#chat")) close();
});

export function close() {
  if (!opened) return;
  clearTimeout(opened.timer);
  opened.panel.hidden = true;
  opened.unit.setAttribute("aria-expanded", "false");
  opened = null;
}

function open(unit, panel, stays = false) {
  if (opened?.unit !== unit) close();
  clearTimeout(opened?.timer);
  opened = { unit, panel, stays: stays || Boolean(opened?.stays) };
  panel.hidden = false;
  unit.setAttribute("aria-expanded", "true");
  placeBelow(unit, panel);
  if (stays) panel.scrollIntoView({ block: "nearest" });
}

// Puts a panel below its unit, beside the left edge of the card unless it would leave the results on the right.
function placeBelow(unit, panel) {
  const card = unit.closest(".card");
  const [inner, outer] = [card, card.parentElement].map((one) => one.getBoundingClientRect());
  const bottom = Math.max(...[...unit.getClientRects()].map((one) => one.bottom));
  panel.style.top = `${bottom - inner.top - card.clientTop + 4}px`;
  panel.style.maxWidth = `${outer.width - 16}px`;
  panel.style.left = `${Math.min(8, outer.right - 8 - panel.offsetWidth - inner.left)}px`;
}

function closeSoon(unit, panel) {
  if (opened?.unit !== unit || opened.stays) return;
  clearTimeout(opened.timer);
  opened.timer = setTimeout(() => {
    if (![unit, panel].some((one) => one.matches(":hover, :focus, :focus-within"))) close();
  }, HIDE_MILLISECONDS);
}

// The element of a statement or sentence, to which its text is added, and its panel. `places` are those of the turns in
// the chat. Pointing at a doubtful one or focusing it shows the panel; a click, a tap or Enter keeps it, for each.
export function unitWithPanel(summary, one, places) {
  const isDoubt = isVerified(summary) && isDoubtful(summary, one);
  const unit = element("span", isDoubt ? "sentence doubtful" : one.isQuote ? "sentence quote" : "sentence");
  const panel = element("span", isDoubt ? "why doubt" : "why");
  const shown = one.turns.map((turn) => places[turn]);
  panel.append(...panelLines(summary, one, shown, () => open(unit, panel, true)));
  panel.id = `why-${numPanels += 1}`;
  panel.hidden = true;
  panel.setAttribute("role", "group");
  panel.setAttribute("aria-live", "off"); // it stands in a live region
  panel.firstChild.id = `${panel.id}-reason`;
  unit.tabIndex = 0;
  for (const [name, value] of [["role", "button"], ["aria-expanded", "false"], ["aria-controls", panel.id], ["aria-describedby", panel.firstChild.id]]) unit.setAttribute(name, value);
  const toggle = () => {
    const wasKept = opened?.unit === unit && opened.stays;
    if (wasKept) close(); else open(unit, panel, true);
    highlight(wasKept ? [] : shown);
  };
  unit.addEventListener("click", toggle);
  unit.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    toggle();
  });
  if (isDoubt) for (const name of ["mouseenter", "focusin"]) unit.addEventListener(name, () => open(unit, panel));
  for (const name of ["mouseenter", "focusin"]) panel.addEventListener(name, () => open(unit, panel));
  for (const name of ["mouseleave", "focusout"]) for (const each of [unit, panel]) each.addEventListener(name, () => closeSoon(unit, panel));
  return { unit, panel };
}

// Ends the text of a unit with the mark, if it is doubtful.
export function finishUnit(unit) {
  if (unit.classList.contains("doubtful")) unit.append(doubtMark(), element("span", "hidden", ` (${t("isdoubtful")})`));
}

function reason(summary, one) {
  if (one.isQuote) return t("whyquoted");
  if (!isVerified(summary)) return t("evidence");
  if (one.support === null) return t("whyunknown");
  return isDoubtful(summary, one) ? t("whydoubtful") : t("whysupported");
}

function panelLines(summary, one, shown, keep) {
  const lines = [reason(summary, one)];
  if (isVerified(summary) && one.support !== null) {
    lines.push(t("support", { value: percent(summary, one), threshold: percentOfThreshold(summary) }));
  }
  if (one.flags?.length) lines.push(t("checks", { notes: one.flags.join("; ") }));
  const made = lines.map((line) => element("span", "", line));
  const links = shown.map((place, n) => {
    const link = Object.assign(element("a", "", one.times?.[n] || t("turn", { n: place + 1 })), { href: `#turn-${place + 1}` });
    link.addEventListener("click", (event) => {
      event.preventDefault();
      keep();
      highlight(shown, place);
    });
    return link;
  });
  if (isVerified(summary) && !one.isQuote) made.push(element("span", "turns", t(shown.length ? "nearest" : "noturn"), ...links));
  else made.push(element("span", "turns", ...links));
  return made;
}
