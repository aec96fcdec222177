/** What went wrong, in words, with what can be done; where the server says when to come again, the page does so. */

import { ProblemError, UnreachableError, readiness } from "./api.js";
import { byId, el, sentence } from "./dom.js";

/** By status: a title in plain words, and what can be done. */
const WORDS = {
  401: ["This server asks for a token", "Without one it does not read images."],
  403: ["This token may not read images", "Ask the operator of this server for a token with the scope “predict”."],
  404: ["Not found", "The model may have been withdrawn. Reload the page."],
  408: ["The upload took too long", "Try again, or on a faster connection."],
  413: ["The image is too large", "Send a smaller export of the image, or a single frame."],
  415: [
    "This is no image that can be read",
    "PNG, JPEG, BMP, TIFF and DICOM are read. The content decides, not the file's name.",
  ],
  422: ["This image cannot be used", "Check how it was exported, or choose another one."],
  429: ["The server is still busy", "It was asked several times. Try again in a few minutes."],
  503: ["The server is not ready", "It was asked several times. Try again in a few minutes."],
};
const isRepeatable = (status) => status === 408 || status === 429 || status >= 500;
const FAULT = "The fault lies with the server. Try again later; if it stays, tell its operator.";
const MAX_TRIES = 5;
const POLL_S = 4;

let timer = null;

/** Remove the notice and end any countdown. */
export function clearNotice() {
  clearInterval(timer);
  byId("notice").replaceChildren();
}

/** A plain remark that needs no action. */
export function remark(text) {
  clearNotice();
  byId("notice").append(el("div", { class: "notice remark" }, el("p", {}, text), close()));
}

/**
 * Show an error.
 *
 * @param {Error} error
 * @param {{name?: string, retry: () => void, tries: number}} again what was asked for, where that is not what is shown;
 *   how to try again, and how often that was done.
 */
export function showError(error, { name, retry, tries }) {
  clearNotice();
  if (error instanceof UnreachableError) return showUnreachable(retry);
  if (!(error instanceof ProblemError)) throw error; // a fault of this page belongs into the console
  const waits = (error.status === 429 || error.status === 503) && tries < MAX_TRIES;
  if (waits) return showBusy(error, retry);
  const [title, advice] = WORDS[error.status] ?? [error.title, error.status >= 500 ? FAULT : null];
  return show({
    title: name ? `${name}: ${title.charAt(0).toLowerCase()}${title.slice(1)}` : title,
    detail: error.detail,
    advice,
    actions: isRepeatable(error.status) ? [button("Try again", retry)] : [],
    slug: `Status ${error.status}, ${error.reason}`,
  });
}

function showBusy(error, retry) {
  let left = Math.max(1, error.retryAfterS ?? 3);
  const text = el("p", { class: "advice", "aria-live": "off" }); // or each second would be read out
  const say = () => (text.textContent = `Trying again in ${left} s.`);
  const stop = button("Stop", () =>
    show({ title: "Stopped", detail: "The image was not read.", actions: [button("Try again", retry)] }),
  );
  show({ title: "The server is busy", detail: error.detail, advice: text, actions: [button("Try now", retry), stop] });
  say();
  timer = setInterval(() => {
    left -= 1;
    if (left > 0) return say();
    clearInterval(timer);
    return retry();
  }, 1000);
}

function showUnreachable(retry) {
  show({
    title: "The server does not answer",
    detail: "It has stopped, or the connection to it is broken. A very large file may also have been cut off.",
    advice: "Your image is still here in this tab. The page tries again as soon as the server is back.",
    actions: [button("Try again", retry)],
  });
  timer = setInterval(async () => {
    const state = await readiness().catch(() => null);
    if (!state?.ready || !byId("notice").hasChildNodes()) return;
    clearInterval(timer);
    retry();
  }, 1000 * POLL_S);
}

function show({ title, detail, advice, actions, slug }) {
  clearNotice();
  const box = el(
    "div",
    { class: "notice error" },
    el("h2", {}, title),
    el("p", {}, sentence(detail)),
    typeof advice === "string" ? el("p", { class: "advice" }, advice) : advice,
    actions.length > 0 && el("p", { class: "actions" }, actions),
    slug && el("p", { class: "slug" }, slug),
    close(),
  );
  byId("notice").append(box);
}

function button(text, action) {
  return el("button", { type: "button", onclick: () => (clearNotice(), action()) }, text);
}

function close() {
  return el("button", { type: "button", class: "close", "aria-label": "Close this message", onclick: clearNotice }, "×");
}
