// The input of both tabs: chosen or dropped files, and the options of how to read them.

const FIELDS = ["format", "encoding", "unknown_speaker", "columns"];

for (const place of document.querySelectorAll("details.input-options")) {
  place.append(document.getElementById("input-options").content.cloneNode(true));
}

// The options set in a panel, as keys of a request; empty fields are left out.
export function inputOptions(panel) {
  const found = {};
  for (const name of FIELDS) {
    const value = panel.querySelector(`[name=${name}]`).value.trim();
    if (value) found[name] = name === "columns" ? parseColumns(value) : value;
  }
  return found;
}

// "speaker=who, text=said" as an object; a part without = gets an empty column, which the server rejects.
function parseColumns(text) {
  const pairs = text.split(/[,，]/).map((pair) => pair.split(/[=＝]/).map((part) => part.trim()));
  return Object.fromEntries(pairs.map(([name, column = ""]) => [name, column]));
}

export function setFormats(names, detectedLabel) {
  for (const select of document.querySelectorAll("select[name=format]")) {
    const kept = select.value;
    select.replaceChildren(new Option(detectedLabel, ""), ...names.map((name) => new Option(name, name)));
    select.value = kept;
  }
}

// The fields and a file as a form; objects are sent as JSON.
export function toFormData(file, fields) {
  const body = new FormData();
  body.append("file", file);
  for (const [name, value] of Object.entries(fields)) body.append(name, typeof value === "string" ? value : JSON.stringify(value));
  return body;
}

// Calls onFile(file) for a file that is chosen with the input or dropped on the panel.
export function acceptFiles(panel, input, onFile) {
  input.addEventListener("change", () => {
    if (input.files[0]) onFile(input.files[0]);
    input.value = "";
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    panel.addEventListener(name, (event) => {
      event.preventDefault();
      panel.classList.toggle("drop", name === "dragover");
      if (name === "drop" && event.dataTransfer.files[0]) onFile(event.dataTransfer.files[0]);
    });
  }
}
