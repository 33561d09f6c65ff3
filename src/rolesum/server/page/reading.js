// How a transcript comes in and how it is read: files that are chosen or dropped, format, columns, unnamed speakers.

const FIELDS = ["format", "unknown_speaker", "columns"];

for (const place of document.querySelectorAll("details.reading")) {
  place.append(document.getElementById("reading").content.cloneNode(true));
}

// What was chosen in a panel's fields, as the service takes it; fields that were left alone are not there.
export function readingOf(panel) {
  const found = {};
  for (const name of FIELDS) {
    const value = panel.querySelector(`[name=${name}]`).value.trim();
    if (value) found[name] = name === "columns" ? columnsOf(value) : value;
  }
  return found;
}

// "speaker=who, text=said" as an object; what is no pair has an empty column, which the service refuses.
function columnsOf(text) {
  const pairs = text.split(/[,，]/).map((pair) => pair.split(/[=＝]/).map((part) => part.trim()));
  return Object.fromEntries(pairs.map(([name, column = ""]) => [name, column]));
}

export function offerFormats(names, told) {
  for (const select of document.querySelectorAll("select[name=format]")) {
    const kept = select.value;
    select.replaceChildren(new Option(told, ""), ...names.map((name) => new Option(name, name)));
    select.value = kept;
  }
}

// The same as a form, with a file; objects go as JSON.
export function formOf(file, fields) {
  const body = new FormData();
  body.append("file", file);
  for (const [name, value] of Object.entries(fields)) body.append(name, typeof value === "string" ? value : JSON.stringify(value));
  return body;
}

// Calls take(file) for a file that is chosen with the input or dropped on the panel.
export function takesFiles(panel, input, take) {
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0]);
    input.value = "";
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    panel.addEventListener(name, (event) => {
      event.preventDefault();
      panel.classList.toggle("drop", name === "dragover");
      if (name === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });
  }
}
