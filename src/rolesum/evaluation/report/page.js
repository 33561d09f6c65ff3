"use strict";
const form = document.querySelector(".filters");
const cases = [...document.querySelectorAll(".case")];

// A tag is the system's number and a word: "0worst". Both must fit the same tag.
function fits(tags, system, word) {
  if (!system && !word) return true;
  return tags.split(" ").some((tag) => {
    const [, number, name] = /^(\d+)(.*)$/.exec(tag) || [];
    return (!system || number === system) && (!word || name === word);
  });
}

function filter() {
  const chosen = (name) => (form.elements[name] ? form.elements[name].value : "");
  const [role, kind, system, flag] = ["role", "kind", "system", "flag"].map(chosen);
  let shown = 0;
  for (const one of cases) {
    const { group, tags, marks } = one.dataset;
    one.hidden = !((!role || role === group) && fits(tags, system, kind) && (!flag || fits(marks, system, flag)));
    shown += !one.hidden;
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector(".case:not([hidden])");
  }
  form.querySelector("output").textContent = `${shown} of ${cases.length} case${cases.length === 1 ? "" : "s"}`;
}

form.hidden = false;
form.addEventListener("change", filter);
form.addEventListener("submit", (event) => event.preventDefault());
filter();

let pinned = null;

function light(sentence) {
  for (const one of document.querySelectorAll(".turns .lit")) one.classList.remove("lit");
  if (!sentence) return;
  const turns = sentence.closest(".case").querySelectorAll(".turns li");
  const lit = sentence.dataset.turns.split(" ").map((turn) => turns[turn - 1]).filter(Boolean);
  for (const one of lit) one.classList.add("lit");
  const list = lit[0] && lit[0].parentElement;
  if (list && list.scrollHeight > list.clientHeight) list.scrollTop = lit[0].offsetTop - list.offsetTop - 40;
}

function pin(sentence) {
  if (pinned) pinned.setAttribute("aria-pressed", "false");
  pinned = sentence === pinned ? null : sentence;
  if (pinned) pinned.setAttribute("aria-pressed", "true");
  light(pinned);
  const lit = pinned && pinned.closest(".case").querySelector(".turns .lit");
  if (lit) lit.scrollIntoView({ block: "nearest" });  // on a phone the dialogue may be off the screen
}

for (const sentence of document.querySelectorAll(".s[data-turns]")) {
  if (!sentence.closest(".case").querySelector(".turns")) continue;
  sentence.tabIndex = 0;
  sentence.setAttribute("role", "button");
  sentence.setAttribute("aria-pressed", "false");
  sentence.addEventListener("click", () => pin(sentence));
  sentence.addEventListener("mouseenter", () => light(sentence));
  sentence.addEventListener("mouseleave", () => light(pinned));
  sentence.addEventListener("focus", () => light(sentence));
  sentence.addEventListener("blur", () => light(pinned));
  sentence.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    pin(sentence);
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && pinned) pin(pinned);
});
