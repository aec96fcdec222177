/** The token prompt and the list of keys. */

import { setToken, hasToken } from "./api.js";
import { byId, sentence } from "./dom.js";

/**
 * Ask for a token, which stays in this page's memory alone.
 *
 * @param {string | null} complaint what the server said of the last one.
 * @returns {Promise<boolean>} whether one was given.
 */
export function askToken(complaint) {
  const [dialog, form, field, message] = ["token", "token-form", "token-field", "token-message"].map(byId);
  message.textContent = hasToken() ? `The server did not accept this token. ${sentence(complaint)}` : "";
  field.value = "";
  field.setAttribute("aria-invalid", String(hasToken()));
  dialog.showModal();
  return new Promise((resolve) => {
    let given = false;
    form.onsubmit = (event) => {
      event.preventDefault();
      const value = field.value.trim();
      if (!value) return;
      given = true;
      setToken(value);
      field.value = "";
      dialog.close();
    };
    dialog.onclose = () => resolve(given);
  });
}

/** Buttons named `data-close` close the dialog that holds them; so does a click beside it. */
export function prepareDialogs() {
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }
}

/**
 * Single keys act wherever no text is typed and no dialog is open; they can be switched off.
 *
 * @param {Record<string, {down: (event: KeyboardEvent) => void, up?: () => void}>} actions by key, in lower case.
 */
export function listenToKeys(actions) {
  const enabled = byId("keys-on");
  const actionOf = (event) => {
    const typing = event.target.closest?.("input:not([type=range], [type=radio], [type=checkbox]), textarea");
    const combined = event.ctrlKey || event.metaKey || event.altKey;
    if (typing || combined || !enabled.checked || document.querySelector("dialog[open]")) return null;
    return actions[event.key?.toLowerCase()] ?? null;
  };
  document.addEventListener("keydown", (event) => {
    const action = actionOf(event);
    if (!action || (event.repeat && action.up)) return; // a held key goes on zooming, but toggles once
    event.preventDefault();
    action.down(event);
  });
  document.addEventListener("keyup", (event) => actionOf(event)?.up?.());
}
