/** The HTTP interface. Addresses are relative, so that a gateway may put the page under a path of its own. */

/** A problem document (RFC 9457), or any other answer that is no success. */
export class ProblemError extends Error {
  constructor({ title, status, detail, reason, retry_after_s: retryAfterS }) {
    super(detail);
    Object.assign(this, { name: "ProblemError", title, status, detail, reason, retryAfterS });
  }
}

/** No answer at all: the server, or the way to it, is gone. */
export class UnreachableError extends Error {
  constructor(cause) {
    super("the server does not answer", { cause });
    this.name = "UnreachableError";
  }
}

let token = null; // lives and ends with this page: no storage, no cookie

export function setToken(value) {
  token = value;
}

const SITE = new URLSearchParams(window.location.search).get("site"); // the page's own address names it

export const hasToken = () => token !== null;

/**
 * Ask for one image.
 *
 * @param {{file: Blob, explained: string, frame: number, threshold?: number, pictures?: boolean}} question pictures: also
 *   the decoded image and the map.
 * @returns {Promise<object>} a PredictionResponse.
 */
export async function predict({ file, explained, frame, threshold = null, pictures = true }, signal) {
  const query = new URLSearchParams({ class: explained, frame: String(frame) });
  if (pictures) query.set("cam", "png");
  if (pictures) query.set("image", "png");
  if (SITE) query.set("site", SITE);
  if (threshold !== null) query.set("cam_threshold", String(threshold));
  const body = new FormData();
  body.append("image", file, "image"); // never the file's name: it may name a patient
  return answerOf(await send(`v1/predictions?${query}`, { method: "POST", body, signal }));
}

export const models = async () => answerOf(await send("v1/models"));

export const card = async ({ name, version }) =>
  answerOf(await send(`v1/models/${encodeURIComponent(name)}/card?version=${version}`));

/** The bytes of a file of the page itself. */
export async function blobAt(path) {
  const response = await send(path);
  return response.ok ? response.blob() : answerOf(response);
}

/** Whether a model is loaded: a Readiness, whatever the status. */
export async function readiness() {
  const response = await send("readyz");
  const value = await response.json().catch(() => ({}));
  return { ready: false, model: null, version: null, refused: [], ...value };
}

async function send(path, options = {}) {
  const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
  try {
    return await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new UnreachableError(error);
  }
}

async function answerOf(response) {
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({})); // a gateway may answer with a page of its own
  const retryAfter = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  throw new ProblemError({
    title: response.statusText || `Status ${response.status}`,
    detail: `the server answered with status ${response.status}`,
    reason: "unknown",
    ...problem,
    status: response.status,
    retry_after_s: Number.isNaN(retryAfter) ? problem.retry_after_s : retryAfter,
  });
}
