// Settings: fields are made of what the daemon says about each key. Regions are in regions.js.
import { $, act, ask, element, request, say, setText } from "./api.js";
import { key, language, t } from "./i18n.js";
import * as cameras from "./cameras.js";
import * as regions from "./regions.js";

let context;
let settings = null; // the answer of GET /api/settings
let stale = true;
const changes = new Map(); // "decision.window" to its new value
const OPENS_S = 20; // seconds that a camera has to deliver its first picture after a change

const TITLES = {
  decision: key("What counts as known"), camera: key("Camera"), gate: key("Unchanged scenes"), heat: key("Hot board"),
  mqtt: key("MQTT broker"), webhook: key("Webhook"), board: key("Board"), unknowns: key("Inbox of unknown things"),
  history: key("History"),
};
const NAMES = {
  false_name_rate: key("Strangers that get a name"), radius: key("Radius, bits (-1: calibrated)"),
  second_look: key("Second look at what is unknown"), window: key("Frames that decide"), cooldown_s: key("Cool-down, seconds"), neighbors: key("Pictures that vote"),
  source: key("Source"), fps: key("Frames per second"), url: key("Address"), timeout_s: key("Time limit, seconds"),
  queue: key("Events that wait"), days: key("Days"), megabytes: key("Megabytes"), pictures: key("Pictures"),
  enabled: key("On"), threshold: key("Threshold, gray levels"), refresh_s: key("Hash at least every, seconds"),
  hot_c: key("Hot from, °C"), client_id: key("Client id"), username: key("User name"), tls: key("Encrypted (TLS)"),
  attempts: key("Attempts"), snapshots: key("Snapshots"), snapshot_side: key("Side of a snapshot, pixels"), least: key("Least sightings"),
  name: key("Name"), width: key("Width"), height: key("Height"), host: key("Host"), port: key("Port"), topic: key("Topic"),
};
const STORES = {
  history: key("While it is on, each event is stored on the board with a picture of what was seen, up to the limits below. Nothing leaves the board."),
  unknowns: key("While it is on, small pictures of recurring unknown things are stored on the board, up to the limits below. Nothing leaves the board."),
};
const ORDER = ["decision", "camera", "cameras", "mqtt", "webhook"]; // the others follow, folded
const RATES = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

function rateText(rate) {
  const word = rate <= 0.005 ? t("rarely wrong") : rate <= 0.02 ? t("balanced") : rate <= 0.1 ? t("rarely unknown") : t("names almost everything");
  return t("{word}: up to {share} % of strangers get a name", { word, share: +(100 * rate).toFixed(2) });
}

// -- fields ---------------------------------------------------------------------------------------

function change(name, value, before) {
  if (JSON.stringify(value) === JSON.stringify(before)) changes.delete(name);
  else changes.set(name, value);
  showButtons();
}

function showButtons() {
  $("settings-save").disabled = $("settings-discard").disabled = changes.size === 0;
}

const busy = (area, action) => act(area, $("settings-message"), action).then(showButtons);

function inputFor(one, id) {
  if (one.type === "boolean") return element("input", "", { id, type: "checkbox" });
  if (one.type === "choice") return element("select", "", { id }, ...one.choices.map((name) => element("option", name)));
  const input = element("input", "", { id, autocomplete: "off", type: one.type === "integer" || one.type === "number" ? "number" : "text" });
  if (one.minimum !== null || one.above !== null) input.min = one.minimum ?? one.above;
  if (one.maximum !== null) input.max = one.maximum;
  if (one.type === "number") input.step = "any";
  if (one.default !== null && one.default !== "") input.placeholder = String(one.default);
  return input;
}

function valueOf(input, one) {
  if (one.type === "boolean") return input.checked;
  const text = input.value.trim();
  if (text === "" && (one.type !== "text" || one.required)) return null;
  return one.type === "integer" || one.type === "number" ? Number(text) : text;
}

function field(table, one) {
  const name = `${table.name}.${one.name}`;
  const id = `set-${name.replaceAll(".", "-")}`;
  if (one.name === "false_name_rate") return slider(name, id, one);
  const input = inputFor(one, id);
  if (one.type === "boolean") input.checked = one.value ?? one.default;
  else input.value = one.value ?? "";
  input.disabled = !settings.writable || one.lock !== null;
  input.setAttribute("aria-describedby", `${id}-text`);
  input.addEventListener("input", () => change(name, valueOf(input, one), one.value));
  const label = element("label", t(NAMES[one.name] ?? one.name.replaceAll("_", " ")), { for: id });
  const help = element("p", t(one.text), { id: `${id}-text`, class: "help quiet" });
  if (one.lock) help.append(" ", element("strong", t("Locked: {reason}.", { reason: one.lock })));
  const row = element("div", "", { class: one.type === "boolean" ? "field check" : "field" }, label, input, help);
  if (one.name === "source" && !input.disabled) row.append(cameras.choice(input));
  return row;
}

function slider(name, id, one) {
  const at = RATES.reduce((best, rate, i) => (Math.abs(Math.log(rate / one.value)) < Math.abs(Math.log(RATES[best] / one.value)) ? i : best), 0);
  const input = element("input", "", { id, type: "range", min: 0, max: RATES.length - 1, "aria-describedby": `${id}-text` });
  input.value = at;
  input.disabled = !settings.writable || one.lock !== null;
  const words = element("output", rateText(one.value), { for: id });
  input.setAttribute("aria-valuetext", words.textContent);
  input.addEventListener("input", () => {
    const rate = RATES[input.value];
    setText(words, rateText(rate));
    input.setAttribute("aria-valuetext", words.textContent);
    change(name, rate, one.value);
  });
  return element("div", "", { class: "field wide" }, element("label", t(NAMES.false_name_rate), { for: id }), input, words,
    element("p", t(one.text), { id: `${id}-text`, class: "help quiet" }));
}

// -- tables ---------------------------------------------------------------------------------------

function titleOf(name) {
  const [group, own] = name.split(".");
  return own ? t("Camera {name}", { name: own }) : t(TITLES[group] ?? group);
}

function tableOf(table) {
  const group = table.name.split(".")[0];
  const shown = table.keys.filter((one) => one.type !== "numbers" && one.type !== "texts");
  shown.sort((a, b) => (b.name === "false_name_rate") - (a.name === "false_name_rate")); // the most useful first
  const fields = shown.map((one) => field(table, one));
  const note = element("p", t(table.text), { class: "quiet wide" });
  if (!table.reloadable) note.append(" ", t("Needs a restart."));
  const body = element("div", "", { class: "fields" }, note, ...fields);
  if (group in settings.stored_bytes) body.insertBefore(onOff(table), body.children[1]);
  if (group.startsWith("camera") && settings.writable) body.append(cameraControls(table.name));
  if (ORDER.includes(group) && table.present) return element("section", "", { class: "card" }, element("h3", titleOf(table.name)), body);
  const open = !table.present && settings.stored_bytes[group] ? { open: "" } : {}; // offers to delete it
  return element("details", "", { class: "card", ...open }, element("summary", titleOf(table.name)), body);
}

/** Change the cameras of the file; what was typed elsewhere must not be lost. */
const runAlone = (area, action) => busy(area, async () => {
  if (changes.size) throw new Error(t("Save or discard your other changes first."));
  return action();
});

function cameraControls(table) {
  const [, own] = table.split(".");
  const isAlone = settings.tables.filter(({ name }) => name.startsWith("cameras.")).length < 2;
  return cameras.controls(own ?? "camera", isAlone, runAlone, apply);
}

function onOff(table) {
  const id = `set-${table.name}`;
  const input = element("input", "", { id, type: "checkbox" });
  input.checked = table.present;
  input.disabled = !settings.writable;
  const [first] = table.keys;
  input.addEventListener("input", () => {
    change(table.name, table.present && !input.checked ? null : undefined, undefined);
    if (!table.present) change(`${table.name}.${first.name}`, input.checked ? first.default : null, null);
  });
  const text = element("p", t(STORES[table.name]), { id: `${id}-text`, class: "help quiet" });
  input.setAttribute("aria-describedby", text.id);
  const row = element("div", "", { class: "field check wide" }, element("label", t("On"), { for: id }), input, text);
  const bytes = settings.stored_bytes[table.name];
  if (!bytes) return row;
  text.append(" ", t("{n} MB are stored now.", { n: (bytes / 1e6).toLocaleString(language, { maximumFractionDigits: 1 }) }));
  if (!table.present) row.append(erasing(table.name, row));
  return row;
}

/** Return the button that deletes what a table stored that is off. */
function erasing(name, area) {
  const button = element("button", t("Delete what is stored"), { type: "button", class: "danger", "data-erase": name });
  button.addEventListener("click", async () => {
    if (!await ask(t("Delete all that is stored? This cannot be undone."), t("Delete"))) return;
    busy(area, async () => {
      await request(`/api/stored/${name}`, { method: "DELETE" });
      await loadAll();
      return t("It was deleted.");
    });
  });
  return button;
}

function place(table) {
  const at = ORDER.indexOf(table.name.split(".")[0]);
  return at < 0 ? ORDER.length : at;
}

function show() {
  showButtons();
  setText($("settings-file"), settings.writable ? t("These settings are in {file}.", settings) : settings.fault);
  $("settings-file").classList.toggle("error", !settings.writable);
  $("settings-undo").hidden = !settings.undo;
  const tables = settings.tables.filter((table) => !table.name.startsWith("regions."));
  $("settings-form").replaceChildren(...tables.sort((a, b) => place(a) - place(b)).map(tableOf),
    ...(settings.writable ? [cameras.adding(runAlone, apply)] : []));
  regions.show(settings, context.status);
}

let loading = null;

/** Load the settings and show them, unless the user has typed something. */
function loadAll() {
  loading ??= request("/api/settings").then((answer) => {
    stale = false;
    if (changes.size) return;
    settings = answer;
    show();
  }).finally(() => { loading = null; });
  return loading;
}

function reload() {
  changes.clear();
  return loadAll();
}

// -- saving ---------------------------------------------------------------------------------------

/** Send a change that is meant for the version that is shown; return the message for the user. */
export async function apply(method, path, value) {
  const headers = { "Content-Type": "application/json", "If-Match": settings.version ?? "" };
  const answer = await request(path, { method, headers, body: value === undefined ? undefined : JSON.stringify(value) });
  await reload();
  if (answer.applied.some((name) => name.startsWith("camera"))) watchCameras();
  if (answer.applied.includes("history")) context.tell("history");
  const parts = [answer.changed.length ? t("Saved.") : t("Nothing has changed.")];
  if (answer.need_restart.length) parts.push(t("Restart the daemon to use: {names}.", { names: answer.need_restart.map(titleOf).join(", ") }));
  return parts.join(" ");
}

/** Say so if a camera does not work after a change. */
function watchCameras() {
  const end = Date.now() + 1000 * OPENS_S;
  const timer = setInterval(() => {
    const dead = (context.status?.cameras ?? []).filter((camera) => !camera.fresh);
    if (dead.length && Date.now() < end) return;
    clearInterval(timer);
    for (const camera of dead) {
      say($("settings-message"), t("The camera {name} delivers no pictures: {fault}. Undo the last change, or choose another camera.",
        { name: camera.name, fault: camera.fault ?? t("no answer") }), true);
    }
    if (!dead.length) say($("settings-message"), t("Saved. All cameras deliver pictures."));
  }, 1000);
}

function showSinks(status) {
  const names = Object.keys(status.sinks);
  if ($("sink-list").dataset.names === names.join()) return;
  $("sink-list").dataset.names = names.join();
  $("sink-list").replaceChildren(...names.map((name) => {
    const message = element("p", "", { role: "status" });
    const button = element("button", t("Send a test event"), { type: "button", class: "plain", "aria-label": t("Send a test event to {name}", { name }) });
    const item = element("li", "", { "data-sink": name }, element("strong", name), button, message);
    button.addEventListener("click", () => act(item, message, async () => {
      const answer = await request(`/api/sinks/${encodeURIComponent(name)}/test`, { method: "POST" });
      if (!answer.delivered) throw new Error(answer.error);
      return t("Delivered.");
    }));
    return item;
  }));
}

export function start(given) {
  context = given;
  regions.start(context, apply);
  const load = () => loadAll().catch((error) => say($("settings-message"), error.message, true));
  context.on("session", (role) => {
    stale = true;
    if (role === "owner" && context.view === "settings") load();
  });
  context.on("show", (view) => { if (view === "settings" && context.role === "owner" && (stale || !changes.size)) load(); });
  context.on("status", showSinks);
  $("settings-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!$("settings-form").reportValidity()) return;
    busy($("view-settings"), () => apply("PATCH", "/api/settings", Object.fromEntries(changes)));
  });
  $("settings-discard").addEventListener("click", () => busy($("settings-bar"), reload));
  $("settings-undo").addEventListener("click", () => busy($("view-settings"), async () => {
    await apply("POST", "/api/settings/undo");
    return t("The last change was undone.");
  }));
  window.addEventListener("beforeunload", (event) => { if (changes.size) event.preventDefault(); });
}

