// The catalogue. Every visible text goes through t(); its key is the English text.
// HTML: data-i18n translates the text, data-i18n-label aria-label, data-i18n-placeholder placeholder.

// A view that is loaded later may have a file of its own: /lang/VIEW.CODE.json.

const LANGUAGES = ["de", "es"]; // each has a file /lang/CODE.json: {"English text": "translation"}
let texts = {};
export let language = "en";

/** Return `text` in the language of the browser, with each {name} replaced by its value. */
export function t(text, values = {}) {
  return (texts[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Return `text`, which is passed to t() later: so that all keys can be found in the source. */
export const key = (text) => text;

/** Return the text for a number: `one` for 1, otherwise `many`; {n} is the number. */
export const plural = (number, one, many) => t(number === 1 ? one : many, { n: number.toLocaleString(language) });

export const percent = (share) => new Intl.NumberFormat(language, { style: "percent" }).format(share);

/** Return a number of seconds in words. */
export function duration(seconds) {
  if (seconds < 60) return plural(Math.round(seconds), "{n} second", "{n} seconds");
  if (seconds < 3600) return plural(Math.round(seconds / 60), "{n} minute", "{n} minutes");
  if (seconds < 86400) return plural(Math.round(seconds / 3600), "{n} hour", "{n} hours");
  return plural(Math.round(seconds / 86400), "{n} day", "{n} days");
}

export const clock = (time) => new Date(time).toLocaleTimeString(language);

export const pathOfTexts = (name) => `/lang/${name}.${language}.json`;

/** Load the texts of a view that is loaded later. */
export async function loadTexts(name) {
  if (language === "en") return;
  Object.assign(texts, await fetch(pathOfTexts(name)).then((answer) => answer.json()));
}

/** Load the language of the browser, if there is one, and translate the document. */
export async function load() {
  const wanted = navigator.languages.map((name) => name.split("-")[0]);
  const found = wanted.find((name) => name === "en" || LANGUAGES.includes(name)) ?? "en";
  if (found !== "en") {
    texts = await fetch(`/lang/${found}.json`).then((answer) => answer.json()).catch(() => ({}));
    language = document.documentElement.lang = found;
  }
  for (const each of document.querySelectorAll("[data-i18n]")) {
    each.textContent = t(each.textContent.trim());
  }
  for (const name of ["label", "placeholder"]) {
    for (const each of document.querySelectorAll(`[data-i18n-${name}]`)) {
      const text = t(each.getAttribute(`data-i18n-${name}`));
      each.setAttribute(name === "label" ? "aria-label" : name, text);
    }
  }
}
