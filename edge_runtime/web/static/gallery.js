// The gallery: labels with their pictures; search, selection, removal with undo, backup and restore.
import { $, act, ask, element, pathOf, request, say, send } from "./api.js";
import { language, plural, t } from "./i18n.js";
import { label as labelDialog } from "./label.js";

let context;
let labels = []; // {label, pictures, codes}
let notes = new Map(); // label -> texts of the advice
let advisedFor = null; // the revision that `notes` are about
const selected = new Set();
const photos = (n) => plural(n, "{n} photo", "{n} photos");
const size = (bytes) => t("{n} MB", { n: (bytes / 1e6).toLocaleString(language, { maximumFractionDigits: 1 }) });

// -- the labels -----------------------------------------------------------------------------------

function card({ label, pictures }) {
  const box = element("input", "", { type: "checkbox", "aria-label": t("Select {label}", { label }) });
  box.checked = selected.has(label);
  box.addEventListener("change", () => {
    if (box.checked) selected.add(label);
    else selected.delete(label);
    showSelection();
  });
  const open = element("button", "", { type: "button", class: "open" });
  const picture = element("img", "", { src: `${pathOf(label)}/photo?v=${context.revision}`, alt: "", loading: "lazy" });
  picture.addEventListener("error", () => picture.replaceWith(element("span", "", { class: "no-picture" })));
  const name = element("p", label);
  name.append(element("span", ` (${photos(pictures)})`, { class: "quiet" }));
  open.append(picture, name);
  open.addEventListener("click", () => dialog.open(label));
  const item = element("li", "", {}, box, open);
  item.dataset.label = label;
  showNotes(item);
  return item;
}

/** Show the advice on a card, without loading its picture again. */
function showNotes(item) {
  for (const note of item.querySelectorAll(".note")) note.remove();
  item.append(...(notes.get(item.dataset.label) ?? []).slice(0, 2).map((text) => element("p", text, { class: "note" })));
}

function showLabels() {
  const known = new Set(labels.map(({ label }) => label));
  for (const label of selected) if (!known.has(label)) selected.delete(label);
  const focused = document.activeElement;
  const at = focused.closest("#labels li")?.dataset.label;
  $("labels").replaceChildren(...labels.map(card));
  const again = [...$("labels").children].find((item) => item.dataset.label === at);
  again?.querySelector(focused.localName)?.focus({ preventScroll: true });
  $("no-labels").hidden = labels.length > 0;
  filter();
}

/** Return a text in which case and accents do not matter. */
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLocaleLowerCase();

function filter() {
  const wanted = plain($("label-search").value.trim());
  let shown = 0;
  for (const item of $("labels").children) {
    item.hidden = !plain(item.dataset.label).includes(wanted);
    if (!item.hidden) shown += 1;
  }
  const all = labels.reduce((sum, { pictures }) => sum + pictures, 0);
  $("gallery-count").textContent = wanted
    ? t("{shown} of {labels}", { shown, labels: plural(labels.length, "{n} label", "{n} labels") })
    : `${plural(labels.length, "{n} label", "{n} labels")}, ${photos(all)}`;
  showSelection();
}

const visible = () => [...$("labels").children].filter((item) => !item.hidden);

function showSelection() {
  $("selection").hidden = !labels.length;
  $("selection-count").textContent = selected.size ? t("{n} selected", { n: selected.size }) : "";
  $("remove-selected").disabled = !selected.size;
  const items = visible();
  $("select-all").checked = items.length > 0 && items.every((item) => selected.has(item.dataset.label));
}

function selectAll() {
  for (const item of visible()) {
    if ($("select-all").checked) selected.add(item.dataset.label);
    else selected.delete(item.dataset.label);
    item.querySelector("input").checked = $("select-all").checked;
  }
  showSelection();
}

async function load() {
  if (context.role !== "owner") return;
  labels = (await request("/api/labels")).labels;
  showLabels();
  showFiles(await request("/api/gallery"));
  await loadAdvice();
}

/** Show advice on the cards, once per change; "Check the gallery" adds what a look at the photos shows. */
async function loadAdvice() {
  if (context.role !== "owner" || context.view !== "gallery" || advisedFor === context.revision) return;
  advisedFor = context.revision;
  await request("/api/advice?quick=1").then(showAdvice, () => { advisedFor = null; });
}

/** Tell all views that labels or pictures have changed. */
function changed() {
  context.revision += 1;
  context.tell("gallery");
}

// -- removal, and its undo ------------------------------------------------------------------------

/** Remove labels and pictures; say `text`, with a button to undo it, in `target`. True if done. */
async function remove(what, text, { area = $("view-gallery"), target = $("gallery-message"), undone = () => {} } = {}) {
  let answer = null;
  await act(area, target, async () => {
    answer = await send("POST", "/api/gallery/remove", what);
    changed();
    return text;
  });
  if (answer?.undo) offerUndo(answer.undo, target, undone, t("The photos are back."));
  return Boolean(answer);
}

/** Append a button to `target` that undoes the last change, and then says `text`. */
function offerUndo(undo, target, undone, text) {
  const button = element("button", t("Undo"), { type: "button", class: "plain" });
  button.addEventListener("click", () => act(target, target, async () => {
    await send("POST", "/api/gallery/undo", { undo });
    changed();
    undone();
    return text;
  }));
  target.append(" ", button);
}

async function removeSelected() {
  const chosen = labels.filter(({ label }) => selected.has(label));
  const names = chosen.slice(0, 3).map(({ label }) => label).join(", ");
  const question = chosen.length === 1
    ? t("Remove {label} with all its photos?", { label: names })
    : t("Remove {n} labels with all their photos: {names} ...?", { n: chosen.length, names });
  if (!await ask(question, t("Remove"))) return;
  await removeLabels(chosen.map(({ label }) => label));
}

async function removeLabels(names) {
  await remove({ labels: names }, names.length === 1
    ? t("{label} was removed.", { label: names[0] })
    : t("{n} labels were removed.", { n: names.length }));
  $("label-search").focus();
}

// -- files ----------------------------------------------------------------------------------------

let most = 0; // bytes of an upload

function showFiles(numbers) {
  most = numbers.max_restore_bytes;
  $("gallery-size").textContent = t("{size} on the board, {n} photos kept.", {
    size: size(numbers.size_bytes), n: numbers.kept_pictures.toLocaleString(language) });
  $("restore-undo").hidden = !numbers.previous;
  if (numbers.previous) {
    const time = new Date(numbers.previous.time).toLocaleString(language);
    $("restore-undo").textContent = t("Go back to the gallery before {time}", { time });
  }
}

async function restore(file) {
  if (file.size > most) {
    say($("files-message"), t("{name} is too large: at most {size}.", { name: file.name, size: size(most) }), true);
    return;
  }
  const question = t("Replace the whole gallery by {name} ({size})? The present one is kept, so that you can go back.",
    { name: file.name, size: size(file.size) });
  if (!await ask(question, t("Replace"))) return;
  say($("files-message"), t("Sending and checking the file."));
  await act($("gallery-files"), $("files-message"), async () => replaced(
    await request("/api/gallery/restore", { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } })));
}

async function goBack() {
  if (!await ask(t("Go back to the gallery before the last restore?"), t("Go back"))) return;
  await act($("gallery-files"), $("files-message"), async () => replaced(
    await request("/api/gallery/restore/undo", { method: "POST" })));
}

function replaced({ labels: count, pictures }) {
  selected.clear();
  notes.clear();
  changed();
  return t("The gallery has {labels} and {photos} now.",
    { labels: plural(count, "{n} label", "{n} labels"), photos: photos(pictures) });
}

// -- advice on the cards --------------------------------------------------------------------------

function showAdvice(advice) {
  notes = new Map();
  const add = (label, text) => notes.set(label, [...(notes.get(label) ?? []), text]);
  for (const { label, needed } of advice.few) add(label, plural(needed, "{n} more photo needed", "{n} more photos needed"));
  for (const { label, other_label: other } of advice.alike) {
    add(label, t("Hard to tell from {label}", { label: other }));
    add(other, t("Hard to tell from {label}", { label }));
  }
  for (const { picture, other } of advice.mislabeled) {
    add(picture.label, t("A photo looks like {label}", { label: other.label }));
  }
  for (const { picture } of advice.photos.faulty) add(picture.label, t("A photo shows too little"));
  for (const [label, texts] of notes) notes.set(label, [...new Set(texts)]);
  for (const item of $("labels").children) showNotes(item);
}

const dialog = labelDialog({
  names: () => labels.map(({ label }) => label),
  notes: (label) => notes.get(label) ?? [],
  changed,
  offerUndo,
  remove,
  removeLabels,
});

export function start(given) {
  context = given;
  const refresh = () => load().catch((error) => say($("gallery-message"), error.message, true));
  context.on("session", refresh);
  context.on("gallery", refresh);
  context.on("advice", showAdvice);
  context.on("show", loadAdvice);
  $("label-search").addEventListener("input", filter);
  $("select-all").addEventListener("change", selectAll);
  $("remove-selected").addEventListener("click", removeSelected);
  $("restore-file").addEventListener("change", () => {
    const [file] = $("restore-file").files;
    if (file) restore(file).finally(() => { $("restore-file").value = ""; });
  });
  $("restore-undo").addEventListener("click", goBack);
}
