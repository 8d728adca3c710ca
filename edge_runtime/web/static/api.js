// What all views share: requests and helpers for elements. Text from other sources is only set as
// textContent, never as HTML.
import { key, plural, t } from "./i18n.js";

export const $ = (id) => document.getElementById(id);

/** Return a new element; `children` are elements or texts. */
export function element(name, text = "", attributes = {}, ...children) {
  const created = document.createElement(name);
  created.textContent = text;
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  created.append(...children);
  return created;
}

/** Set the text of an element only if it is another one, so that screen readers say it once. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

export const pathOf = (label) => `/api/labels/${encodeURIComponent(label)}`;

/** Return "?name=value..." of the values that are not empty. */
export function queryOf(values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

let refused = () => {};
/** Call `handler` whenever a request needs a token. */
export function onRefused(handler) { refused = handler; }

/** Return the JSON of an answer; throws an Error with `status` and a message for the user. */
export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw Object.assign(new Error(t("The board does not answer.")), { status: 0 });
  }
  const body = await response.json().catch(() => ({}));
  if (response.status === 401 && !(path === "/api/session" && options.method)) refused();
  if (!response.ok) {
    const text = [body.error, body.remedy].filter(Boolean).join(": ") || response.statusText;
    throw Object.assign(new Error(text), { status: response.status });
  }
  return body;
}

/** Send `value` as JSON. */
export const send = (method, path, value) =>
  request(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

/** Return the text of an answer to an enrollment. */
export function enrolledText({ label, pictures_added: added, fault }) {
  if (!added) return fault ? t(FAULTS[fault]) : t("{label} already has this photo.", { label });
  return fault ? `${t("{label} was enrolled.", { label })} ${t(FAULTS[fault])}` : t("{label} was enrolled.", { label });
}

export const FAULTS = {
  dark: key("Too dark: more light helps."),
  blurred: key("Blurred: hold still."),
  uniform: key("There is nothing to see."),
  closer: key("Move closer."),
};

/** Make `button` undo the enrollment of the pictures `ids`, and tell so in `target`; hide it without ids. */
export function offerUndo(button, ids, target, done) {
  button.hidden = ids.length === 0;
  button.onclick = () => act(button.parentElement, target, async () => {
    // More ids than a request may have are sent in parts.
    for (let at = 0; at < ids.length; at += 200) {
      await request(`/api/pictures?ids=${ids.slice(at, at + 200)}`, { method: "DELETE" });
    }
    button.hidden = true;
    done();
    return plural(ids.length, "{n} picture was removed again.", "{n} pictures were removed again.");
  });
}

/** Show a message, or an error, in a <p role="status">. */
export function say(target, text, isError = false) {
  target.classList.toggle("error", isError);
  target.textContent = text;
}

/** Run `action` with the buttons of `area` disabled; show what it returns, or its error, in `target`. */
export async function act(area, target, action) {
  const buttons = [...area.querySelectorAll("button:not(:disabled)")];
  for (const button of buttons) button.disabled = true;
  try {
    say(target, (await action()) ?? "");
  } catch (error) {
    say(target, error.message, true);
  }
  for (const button of buttons) button.disabled = false;
}

/** Ask the user; true if the answer is `yes`, the text of the button. */
export async function ask(text, yes) {
  const dialog = $("confirm");
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}
