/** The page: one image at a time goes to the server, its answer is shown. Nothing outlives the page. */

import * as api from "./api.js";
import { showCard } from "./card.js";
import { askToken, listenToKeys, prepareDialogs } from "./dialogs.js";
import { byId } from "./dom.js";
import { answerJson, download, nameFor, overlayPng } from "./export.js";
import { localise, readLevels } from "./focus.js";
import { short } from "./gauge.js";
import { listen, listenToArrows, zoomIn, zoomOut } from "./gestures.js";
import { drawLegend } from "./legend.js";
import { clearNotice, remark, showError } from "./notice.js";
import { facts, regions, spoken, verdict } from "./result.js";
import { listenToSources } from "./source.js";
import { Viewer } from "./viewer.js";

const HOLD_MS = 300; // a key that is held longer than this acts only while it is held
const STEP = 0.01;
const STATE_MS = 5000;

/** What is on the page. `threshold` may have been moved away from the answer's own. */
const shown = { source: null, answer: null, image: null, map: null, focus: null, threshold: null, cardThreshold: null };
let running = null;
let lookAgain = null;

const viewer = new Viewer({ grey: byId("grey"), overlay: byId("overlay") }, ({ scale, place }) => {
  byId("zoom").value = `${Math.round(100 * scale)} %`;
  byId("stage").classList.toggle("zoomed", place.zoom > 1);
});

/** Read an image, or the one at hand with another class or frame. What was shown stays until the answer is there. */
async function read(change, tries = 0) {
  const question = { explained: "predicted", frame: 0, ...change };
  clearNotice();
  running?.abort();
  const own = (running = new AbortController());
  setBusy(true);
  try {
    const file = await question.source.load();
    const answer = await withToken(() => api.predict({ ...question, file }, own.signal));
    const [image, map] = await Promise.all([pictureOf(answer.image.png), pictureOf(answer.cam.png)]);
    if (running === own) show(question, answer, image, readLevels(map));
  } catch (error) {
    if (error.name === "AbortError" || running !== own) return;
    const name = question.source === shown.source ? null : question.source.label;
    showFailure(error, { name, retry: () => read(question, tries + 1), tries });
  } finally {
    if (running === own) setBusy(false);
  }
}

/** Ask for a token where the server wants one, or another, and go on with it. */
async function withToken(ask) {
  try {
    return await ask();
  } catch (error) {
    const another = error.status === 401 || error.reason === "forbidden";
    if (!another || !(await askToken(error.detail))) throw error;
    return withToken(ask);
  }
}

function showFailure(error, { name, retry, tries = Infinity }) {
  syncControls();
  showState();
  showError(error, { name, retry, tries });
}

function show(question, answer, image, map) {
  const { threshold } = answer.localisation;
  const [another, first] = [shown.source !== question.source, byId("reading").hidden];
  Object.assign(shown, { ...question, answer, image, map, cardThreshold: threshold });
  byId("start").hidden = true;
  byId("reading").hidden = false;
  byId("label-of-source").textContent = question.source.label;
  viewer.show({ image, map, spacingMm: answer.image.spacing_mm });
  if (another) {
    viewer.fit();
    window.scrollTo(0, 0);
  }
  byId("verdict").replaceChildren(...verdict(answer).filter(Boolean));
  byId("facts").replaceChildren(facts(answer));
  setThreshold(another || shown.threshold === null ? threshold : shown.threshold);
  syncControls();
  showState();
  if (first) byId("stage").focus({ preventScroll: true }); // what had the focus is gone; the arrow keys act at once
  byId("live").textContent = spoken(answer, shown.focus);
}

/** Cut the map anew, here, at once. At the card's threshold the server's own boxes stand. */
function setThreshold(threshold) {
  const { localisation } = shown.answer;
  shown.threshold = threshold;
  shown.focus = localise(shown.map, threshold);
  if (threshold === localisation.threshold) {
    Object.assign(shown.focus, { boxes: localisation.boxes_xyxy_px, areaFraction: localisation.area_fraction });
  }
  viewer.mark(shown.focus);
  byId("regions").replaceChildren(...[regions(shown.answer, shown.focus, threshold)].flat().filter(Boolean));
  byId("threshold").value = String(threshold);
  byId("threshold-value").value = short(threshold);
  byId("threshold-reset").disabled = threshold === shown.cardThreshold;
  showScale();
}

function showScale() {
  if (shown.threshold !== null) drawLegend(byId("legend"), { opacity: viewer.look.opacity, threshold: shown.threshold });
}

function setOpacity(percent) {
  viewer.setLook({ opacity: percent / 100 });
  byId("opacity-value").value = `${percent} %`;
  showScale();
}

/** Let the controls say what is shown, after an answer and after one that failed. */
function syncControls() {
  const { answer } = shown;
  if (!answer) return;
  const { frame, frames } = answer.image;
  const explained = answer.localisation.explained_class;
  document.querySelector(`[name=explained][value=${shown.explained}]`).checked = true;
  byId("predicted-name").textContent = ` (${answer.label})`;
  byId("overlay-caption").textContent = `Map of the class ${explained}`;
  byId("overlay").setAttribute("aria-label", `The image with the map of the class ${explained}, its focus outlined`);
  byId("threshold-card").textContent = short(shown.cardThreshold);
  byId("frames").hidden = frames < 2;
  Object.assign(byId("frame"), { max: String(frames - 1), value: String(frame) });
  byId("frame-value").value = `${frame + 1} of ${frames}`;
}

function setBusy(busy) {
  for (const sign of document.querySelectorAll("[data-progress]")) sign.hidden = !busy;
  document.documentElement.classList.toggle("busy", busy);
  document.querySelector("main").setAttribute("aria-busy", String(busy));
}

/** A picture of the answer, decoded. */
async function pictureOf(dataUrl) {
  const image = new Image();
  image.src = dataUrl;
  await image.decode();
  return image;
}

function toggleGrey(on = !viewer.look.greyOnly) {
  viewer.setLook({ greyOnly: on });
  byId("grey-only").setAttribute("aria-pressed", String(on));
  byId("viewer").classList.toggle("grey-only", on);
}

function toggleMarks() {
  viewer.setLook({ marks: !viewer.look.marks });
  byId("marks").setAttribute("aria-pressed", String(viewer.look.marks));
}

const again = (change) =>
  shown.answer && read({ source: shown.source, explained: shown.explained, frame: shown.frame, ...change });
const switchClass = () => again({ explained: shown.explained === "predicted" ? "malignant" : "predicted" });
const stepThreshold = (step) =>
  shown.answer && setThreshold(Math.min(0.99, Math.max(0.01, Math.round((shown.threshold + step) / STEP) * STEP)));

let wantedFrame = null; // while a clip is stepped through faster than it is answered

/** Count from the frame that was asked for last; the clip is sent again once its answer is there, for the last one alone. */
async function stepFrame(step) {
  if (!shown.answer) return;
  const { frames } = shown.answer.image;
  const begun = wantedFrame !== null;
  wantedFrame = Math.min(frames - 1, Math.max(0, (wantedFrame ?? shown.frame) + step));
  byId("frame").value = String(wantedFrame);
  byId("frame-value").value = `${wantedFrame + 1} of ${frames}`;
  if (begun) return;
  try {
    while (wantedFrame !== shown.frame) {
      const frame = wantedFrame;
      await again({ frame });
      if (shown.frame !== frame) return; // it failed, or something else was asked for
    }
  } finally {
    wantedFrame = null;
    syncControls();
  }
}

/** The JSON is the server's own answer for what is shown; a threshold that was moved is asked for anew. */
async function exportJson() {
  const { answer, source, explained, frame, threshold } = shown;
  const question = { explained, frame, threshold, pictures: false };
  try {
    const moved = threshold !== answer.localisation.threshold;
    const exact = moved ? await withToken(async () => api.predict({ ...question, file: await source.load() })) : answer;
    download(answerJson(exact), nameFor(answer, "answer.json"));
  } catch (error) {
    showFailure(error, { retry: exportJson });
  }
}

async function exportPng() {
  const blob = await overlayPng({ ...shown, heat: viewer.heat, opacity: viewer.look.opacity });
  download(blob, nameFor(shown.answer, "overlay.png"));
}

/** The card of the version that answered; before an answer, of the one that would. */
async function openCard() {
  try {
    const { models } = await withToken(api.models);
    const wanted = shown.answer?.model ?? models.find(({ role }) => role === "primary");
    if (!wanted) return remark("No model is ready yet, so that there is no card to show.");
    showCard(
      await api.card(wanted),
      models.filter(({ name }) => name === wanted.name),
    );
    byId("card").showModal();
  } catch (error) {
    showFailure(error, { retry: openCard });
  }
}

/** Say in the header which model answers; until one does, look again from time to time. */
async function showState() {
  clearTimeout(lookAgain);
  const state = await api.readiness().catch(() => null);
  const text = !state
    ? "The server does not answer"
    : state.ready
      ? `${state.model}, version ${state.version}`
      : "No model is ready yet";
  byId("state-text").textContent = text;
  byId("state").classList.toggle("ready", Boolean(state?.ready));
  if (!state?.ready) lookAgain = setTimeout(showState, STATE_MS);
}

function listenToControls() {
  byId("opacity").addEventListener("input", ({ target }) => setOpacity(Number(target.value)));
  byId("threshold").addEventListener("input", ({ target }) => setThreshold(Number(target.value)));
  byId("threshold-reset").addEventListener("click", () => setThreshold(shown.cardThreshold));
  byId("frame").addEventListener(
    "input",
    ({ target }) => (byId("frame-value").value = `${Number(target.value) + 1} of ${shown.answer.image.frames}`),
  );
  byId("frame").addEventListener("change", ({ target }) => again({ frame: Number(target.value) }));
  for (const radio of document.querySelectorAll("[name=explained]")) {
    radio.addEventListener("change", () => again({ explained: radio.value }));
  }
  const clicks = {
    "grey-only": () => toggleGrey(),
    marks: toggleMarks,
    "zoom-in": () => zoomIn(viewer),
    "zoom-out": () => zoomOut(viewer),
    "zoom-fit": () => viewer.fit(),
    "export-png": exportPng,
    "export-json": exportJson,
    "show-card": openCard,
    "show-keys": () => byId("keys").showModal(),
  };
  for (const button of document.querySelectorAll("[data-stop]")) button.addEventListener("click", () => running?.abort());
  window.addEventListener("beforeprint", () => (byId("more").open = true));
  for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);
}

function keys() {
  let pressed = 0;
  const zoom = { "+": zoomIn, "=": zoomIn, "-": zoomOut, 0: () => viewer.image && viewer.fit() };
  return {
    ...Object.fromEntries(Object.entries(zoom).map(([key, act]) => [key, { down: () => act(viewer) }])),
    g: {
      down: () => ((pressed = performance.now()), toggleGrey()),
      up: () => performance.now() - pressed > HOLD_MS && toggleGrey(),
    },
    b: { down: toggleMarks },
    c: { down: switchClass },
    t: { down: ({ shiftKey }) => stepThreshold(shiftKey ? -STEP : STEP) },
    ",": { down: () => stepFrame(-1) },
    ".": { down: () => stepFrame(1) },
    o: { down: () => byId("file").click() },
    m: { down: openCard },
    "?": { down: () => byId("keys").showModal() },
  };
}

prepareDialogs();
listenToControls();
listenToKeys(keys());
listen(byId("grey"), viewer);
listen(byId("overlay"), viewer);
listenToArrows(byId("stage"), viewer);
listenToSources(
  (source) => read({ source }),
  (count) => remark(`${count} files came at once. One image is read at a time: this is the first.`),
);
new ResizeObserver(showScale).observe(byId("legend"));
setOpacity(60);
showState();
