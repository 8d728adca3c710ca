// The inbox: things that came repeatedly and have no name, as stacks of pictures to be named.
import { $, act, ask, element, offerUndo, request, send, setText } from "./api.js";
import { clock, duration, plural, t } from "./i18n.js";

const STACKED = 3; // pictures of a stack that show
const EVERY_MS = 15000;

let context;
let shown = new Map(); // id of a group to its item and the JSON that it shows
let seen = null; // the number of groups in the newest status
let loadedAt = 0;
let loading = false;

const address = (id) => `/api/unknowns/pictures/${id}`;
const image = (id, alt = "") => element("img", "", { src: address(id), alt, loading: "lazy" });

function checkbox(kind, id, label) {
  const box = element("input", "", { type: "checkbox", "aria-label": label, "data-kind": kind, "data-id": id });
  box.addEventListener("change", showChoice);
  return box;
}

/** Return when and where a picture was taken. */
function place({ time, camera, region }) {
  return `${region ? `${camera}/${region}` : camera}, ${clock(time)}`;
}

function item(group, number) {
  const name = group.empty ? t("The empty scene") : t("Unknown thing {n}", { n: number });
  const box = checkbox("groups", group.id, t("Select: {name}", { name }));
  const pile = element("span", "", { class: "pile" }, ...group.pictures.slice(0, STACKED).map(({ id }) => image(id)).reverse());
  const stack = element("label", "", { class: "stack" }, box, pile);
  const facts = element("p", "", { class: "facts" },
    element("strong", group.empty ? name : plural(group.count, "seen once", "seen {n} times")), element("span", "", { class: "quiet ago" }));
  const li = element("li", "", { "data-group": group.id }, stack, facts);
  if (group.empty) {
    const dismiss = element("button", t("Dismiss for good"), { type: "button", class: "plain" });
    dismiss.addEventListener("click", () => remove({ groups: [group.id], pictures: [] }, li));
    li.append(dismiss);
  } else if (group.nearest) {
    const { label } = group.nearest;
    const same = element("button", t("Same as {label}?", { label }), { type: "button", class: "plain same" });
    same.addEventListener("click", () => give(label, { groups: [group.id], pictures: [] }, li));
    li.append(same);
  }
  if (group.pictures.length > 1) {
    const all = element("details", "", {}, element("summary", plural(group.pictures.length, "{n} picture", "{n} pictures")));
    all.addEventListener("toggle", () => {
      if (all.querySelector("ul")) return;
      all.append(element("ul", "", { class: "singles" }, ...group.pictures.map((picture) => element("li", "", {},
        element("label", "", { class: "stack" }, checkbox("pictures", picture.id, t("Select the picture: {place}", { place: place(picture) })), image(picture.id))))));
    });
    li.append(all);
  }
  return li;
}

/** Show how long ago each thing was seen. */
function tellAges(groups) {
  for (const { id, last } of groups) {
    const age = Math.max((Date.now() - Date.parse(last)) / 1000, 0);
    setText(shown.get(id).li.querySelector(".ago"), t("last {age} ago", { age: duration(age) }));
  }
}

async function load() {
  if (context.role !== "owner" || loading) return;
  loading = true;
  try {
    const { groups } = await request("/api/unknowns");
    loadedAt = Date.now();
    const before = shown;
    shown = new Map();
    groups.forEach((group, index) => {
      // What changes with each sighting must not replace what has the focus or is selected.
      const old = before.get(group.id);
      const busy = old && (old.li.contains(document.activeElement) || old.li.querySelector(":checked, details[open]"));
      const json = JSON.stringify({ ...group, last: "" });
      shown.set(group.id, old && (busy || old.json === json) ? old : { json, li: item(group, index + 1) });
    });
    const items = [...shown.values()].map(({ li }) => li);
    const present = [...$("unknowns").children];
    if (items.length !== present.length || items.some((li, at) => li !== present[at])) {
      const focused = document.activeElement;
      $("unknowns").replaceChildren(...items);
      if (focused?.isConnected) focused.focus({ preventScroll: true });
    }
    $("no-unknowns").hidden = groups.length > 0;
    tellAges(groups);
    showChoice();
  } finally {
    loading = false;
  }
}

// -- answers --------------------------------------------------------------------------------------

function choice() {
  const chosen = { groups: [], pictures: [] };
  for (const box of $("unknowns").querySelectorAll("input:checked")) {
    const group = box.closest("[data-group]").querySelector("[data-kind=groups]");
    if (box.dataset.kind === "groups" || !group.checked) chosen[box.dataset.kind].push(Number(box.dataset.id));
  }
  return chosen;
}

function showChoice() {
  const { groups, pictures } = choice();
  $("unknown-form").hidden = groups.length + pictures.length === 0;
  const parts = [];
  if (groups.length) parts.push(plural(groups.length, "{n} thing selected", "{n} things selected"));
  if (pictures.length) parts.push(plural(pictures.length, "{n} picture selected", "{n} pictures selected"));
  setText($("chosen"), parts.join(", "));
  setText($("unknown-dismiss"), groups.length ? t("Not a thing") : t("Remove the pictures"));
}

async function finish() {
  for (const box of $("unknowns").querySelectorAll("input:checked")) box.checked = false;
  shown = new Map(); // pictures may have left groups that stay
  await load();
}

/** Enroll what is chosen under `label`, new or existing. */
async function give(label, chosen, area) {
  await act(area, $("inbox-message"), async () => {
    const answer = await send("POST", "/api/unknowns/name", { ...chosen, label });
    $("unknown-label").value = "";
    offerUndo($("inbox-undo"), answer.pictures, $("inbox-message"), changed);
    await finish();
    changed();
    const pictures = plural(answer.pictures_added, "{n} picture", "{n} pictures");
    return t("{label} has learned {pictures}.", { label, pictures });
  });
  if (document.activeElement === document.body) $("main").focus({ preventScroll: true }); // its element is gone
}

function changed() {
  context.revision += 1;
  context.tell("gallery");
}

async function remove(chosen, area) {
  const question = chosen.groups.length
    ? t("Remove it, and never collect it again?") : t("Remove the selected pictures?");
  if (!await ask(question, t("Remove"))) return;
  await act(area, $("inbox-message"), async () => {
    await send("POST", "/api/unknowns/dismiss", chosen);
    $("inbox-undo").hidden = true;
    await finish();
    return chosen.groups.length ? t("It is not collected again.") : t("The pictures were removed.");
  });
  $("main").focus({ preventScroll: true });
}

function onStatus({ unknowns }) {
  const due = unknowns !== seen || Date.now() - loadedAt > EVERY_MS;
  seen = unknowns;
  if (unknowns !== null && due && context.view === "inbox") load().catch(() => {});
}

export function start(given) {
  context = given;
  $("unknown-form").addEventListener("submit", (event) => {
    event.preventDefault();
    give($("unknown-label").value.trim(), choice(), $("view-inbox"));
  });
  $("unknown-dismiss").addEventListener("click", () => remove(choice(), $("view-inbox")));
  $("unknown-none").addEventListener("click", () => {
    for (const box of $("unknowns").querySelectorAll("input:checked")) box.checked = false;
    showChoice();
    $("main").focus({ preventScroll: true });
  });
  context.on("status", onStatus);
  context.on("show", (name) => { if (name === "inbox" && context.offered.inbox) load().catch(() => {}); });
  context.on("session", () => { if (context.offered.inbox && context.view === "inbox") load().catch(() => {}); });
}
