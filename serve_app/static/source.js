/** Where images come from: a file that is chosen, dropped or pasted, or an example phantom. */

import { blobAt } from "./api.js";
import { byId, el } from "./dom.js";

const EXAMPLES = ["benign-a", "malignant-a", "benign-b", "malignant-b"];

/**
 * Listen to all sources.
 *
 * @param {(source: {label: string, load: () => Promise<Blob>}) => void} read takes one image; `label` is shown, never sent.
 * @param {(count: number) => void} several told how many files came at once; the first of them is read.
 */
export function listenToSources(read, several) {
  const take = (files) => {
    if (files.length) read({ label: files[0].name || "Pasted image", load: async () => files[0] });
    if (files.length > 1) several(files.length);
  };
  const input = byId("file");
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = ""; // the same file can be chosen again
  });
  for (const button of document.querySelectorAll("[data-choose]")) button.addEventListener("click", () => input.click());
  document.addEventListener("paste", (event) => take([...(event.clipboardData?.files ?? [])]));
  listenToDrops(take);
  for (const list of document.querySelectorAll("[data-examples]")) {
    list.append(...EXAMPLES.map((name) => exampleButton(name, read)));
  }
}

/** The whole page takes drops; a frame shows it while something is dragged over. */
function listenToDrops(take) {
  const root = document.documentElement;
  const mark = (on) => root.classList.toggle("dragging", on);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    mark([...event.dataTransfer.types].includes("Files"));
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && mark(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    take([...event.dataTransfer.files]);
  });
}

function exampleButton(name, read) {
  const [label, institution] = name.split("-");
  const address = `static/examples/${name}.png`;
  const text = `${label[0].toUpperCase()}${label.slice(1)}, institution ${institution.toUpperCase()}`;
  const open = () => read({ label: `Example phantom: ${text} (made, not a patient)`, load: () => blobAt(address) });
  return el(
    "li",
    {},
    el(
      "button",
      { type: "button", class: "example", title: `Example phantom: ${text}`, onclick: open },
      el("img", { src: address, alt: "", draggable: "false", width: "120", height: "120" }),
      el("span", {}, el("span", { class: "visually-hidden" }, "Example phantom: "), text),
    ),
  );
}
