// The page of a running daemon: starts the views, and tells them what happens.
//
// Each view is a module with `start(context)`, called once. It listens with `context.on(kind, handler)`:
//   "session"  the page may ask the daemon (again): load your data; `context.role` is "owner" or "reader"
//   "status"   the status, once per second      "event"  a recognition event
//   "gone"     the daemon does not answer; once per second     "gallery"  labels or pictures have changed
//   "history"  it was turned on or off
//   "show"     the name of the view that is visible now
// The views of `LATER` are loaded when they are shown first; `on` tells them what is known already.
import { $, element, onRefused, request, send, setText } from "./api.js";
import { load, loadTexts, pathOfTexts, t } from "./i18n.js";
import * as alerts from "./alerts.js";
import * as status from "./status.js";

const LATER = { // the modules, styles and texts of a view
  live: { modules: ["live", "enroll"], styles: [], texts: [] },
  phone: { modules: ["phone", "query"], styles: [], texts: [] },
  inbox: { modules: ["inbox"], styles: [], texts: [] },
  gallery: { modules: ["gallery", "advice"], styles: ["gallery"], texts: [] },
  history: { modules: ["history"], styles: ["history"], texts: [] },
  settings: { modules: ["settings"], styles: ["settings"], texts: ["settings"] },
};
const handlers = {};
const known = {}; // the newest value of each kind that a view needs to begin
const context = {
  role: "reader",
  status: null, // the newest one
  heard: 0, // when it came, ms
  gone: false, // whether the daemon does not answer
  locked: false, // whether it asks for a token
  view: "live",
  offered: {}, // views that are of use now
  revision: 0, // part of the URL of each thumbnail, so that a change reloads it
  on(kind, handler) {
    (handlers[kind] ??= []).push(handler);
    if (kind in known) handler(known[kind]);
  },
  tell(kind, value) {
    if (["session", "status", "show"].includes(kind)) known[kind] = value;
    for (const handler of handlers[kind] ?? []) handler(value);
  },
  offer(name, offered) {
    if (Boolean(context.offered[name]) === offered) return;
    context.offered[name] = offered;
    document.querySelector(`#views a[href="#${name}"]`).hidden = !offered;
    navigate();
  },
};

// -- views that are loaded later -------------------------------------------------------------------

const loaded = {};

async function loadView({ modules, styles, texts }) {
  const links = styles.map((name) => new Promise((resolve, reject) => {
    const link = element("link", "", { rel: "stylesheet", href: `/${name}.css` });
    link.addEventListener("load", resolve);
    link.addEventListener("error", reject);
    document.head.append(link);
  }));
  const found = await Promise.all(modules.map((name) => import(`./${name}.js`)));
  await Promise.all([...links, ...texts.map(loadTexts)]);
  for (const module of found) module.start(context);
}

/** Load a view, unless it is there; without an answer of the board, the next call tries again. */
function need(name) {
  if (!(name in LATER) || name in loaded) return;
  $(`view-${name}`).ariaBusy = "true";
  loaded[name] = loadView(LATER[name]).then(() => { $(`view-${name}`).ariaBusy = "false"; }, () => { delete loaded[name]; });
}

// -- navigation -----------------------------------------------------------------------------------

const OWNERS = ["inbox", "gallery", "settings", "phone"]; // views that are of no use to a reader

function isOffered(name) {
  const link = document.querySelector(`#views a[href="#${CSS.escape(name)}"]`);
  return Boolean($(`view-${name}`)) && !link?.hidden && (context.role === "owner" || !OWNERS.includes(name));
}

function navigate(event) {
  const wanted = location.hash.slice(1);
  if (wanted === "main") return; // the link that skips the navigation
  const name = wanted && isOffered(wanted) ? wanted : "live";
  for (const view of document.querySelectorAll("main > [id^=view-]")) view.hidden = view.id !== `view-${name}`;
  for (const link of document.querySelectorAll("#views a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (event) {
    window.scrollTo(0, 0);
    $("main").focus({ preventScroll: true });
  }
  need(name);
  if (context.view === name && event) return;
  context.view = name;
  context.tell("show", name);
}

/** Offer what the board has, in the navigation. */
function offerViews({ unknowns }) {
  context.offer("inbox", unknowns !== null);
  $("inbox-count").hidden = !unknowns;
  setText($("inbox-count"), String(unknowns ?? ""));
}

async function offerHistory() {
  const { enabled } = await request("/api/history?limit=1").catch(() => ({ enabled: false }));
  context.offer("history", enabled);
}

/** Fill the list of names that every field for a label suggests. */
async function showKnownLabels() {
  if (context.role !== "owner") return;
  const { labels } = await request("/api/labels");
  $("known-labels").replaceChildren(...labels.map(({ label: value }) => element("option", "", { value })));
}

// -- what needs the board --------------------------------------------------------------------------

const ACTIONS = "main button:not([data-local], .region-box), main input[type=file], #label-dialog button:not([data-local])";

/** Disable all actions while the board does not answer; what was disabled otherwise stays so. */
function allow(answers) {
  document.body.classList.toggle("gone", !answers);
  for (const each of document.querySelectorAll(answers ? "[data-off]" : ACTIONS)) {
    if (!answers && each.disabled) continue;
    each.disabled = !answers;
    if (answers) each.removeAttribute("title");
    else each.title = t("The board does not answer.");
    each.toggleAttribute("data-off", !answers);
  }
}

// -- the daemon -----------------------------------------------------------------------------------

let stream = null;

function showLogin() {
  stream?.close();
  stream = null;
  context.locked = true;
  context.tell("gone");
  document.body.classList.add("locked");
  if (!$("login").hidden) return;
  $("login").hidden = false;
  $("token").focus();
}

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await send("POST", "/api/session", { token: $("token").value });
    $("login").hidden = true;
    $("token").value = $("login-error").textContent = "";
    await connect();
  } catch (error) {
    $("login-error").textContent = error.message;
  }
});

function showStatus(value) {
  context.status = value;
  context.heard = Date.now();
  if (context.gone) allow(true);
  context.gone = context.locked = false;
  document.body.classList.remove("waiting");
  setText($("board"), value.board.name);
  offerViews(value);
  context.tell("status", value);
}

const SILENT_MS = 6000; // without a status for so long, the daemon is gone
const RETRY_MS = 5000;
let tried = 0;

function lose() {
  context.gone = true;
  allow(false);
  context.tell("gone");
}

// A board without power does not close the connection, and a refused stream does not come back.
function watch() {
  const now = Date.now();
  if (context.locked || (!context.gone && now - Math.max(context.heard, tried) < SILENT_MS)) return;
  lose();
  if (now - tried >= RETRY_MS) connect().catch(() => {});
}

async function connect() {
  tried = Date.now();
  const soon = { signal: AbortSignal.timeout(RETRY_MS - 1000) };
  context.role = (await request("/api/session", soon)).role;
  document.body.classList.remove("locked");
  document.body.classList.toggle("reader", context.role !== "owner");
  showStatus(await request("/api/status", soon));
  context.offer("settings", context.role === "owner");
  context.tell("session", context.role);
  navigate();
  offerHistory();
  stream?.close();
  stream = new EventSource("/api/stream");
  stream.addEventListener("status", (message) => showStatus(JSON.parse(message.data)));
  stream.addEventListener("recognition", (message) => context.tell("event", JSON.parse(message.data)));
  stream.addEventListener("error", () => {
    // Not left to the browser, which gives up once it is refused: the token may have changed.
    stream?.close();
    tried = Date.now() - RETRY_MS / 2;
    lose();
  });
}

onRefused(showLogin);
// The modules of the view that is shown first arrive while the texts do.
for (const name of (LATER[location.hash.slice(1)] ?? LATER.live).modules) import(`./${name}.js`).catch(() => {});
await load();
for (const view of [alerts, status]) view.start(context);
context.on("history", offerHistory);
for (const kind of ["session", "gallery"]) context.on(kind, () => showKnownLabels().catch(() => {}));
window.addEventListener("hashchange", navigate);
navigate();
connect().catch(() => { if (!context.locked) lose(); });
setInterval(watch, 1000);
// A page that the browser keeps for "back" would hold its connection, and it has only six to the board.
window.addEventListener("pagehide", () => stream?.close());

// -- offline --------------------------------------------------------------------------------------

// Browsers refuse it without https, or with a certificate that they do not trust.
navigator.serviceWorker?.register("/worker.js").then(async () => {
  const { active } = await navigator.serviceWorker.ready;
  const own = performance.getEntriesByType("resource").map((entry) => new URL(entry.name).pathname);
  const later = Object.values(LATER).flatMap(({ modules, styles, texts }) => [
    ...modules.map((name) => `/${name}.js`), ...styles.map((name) => `/${name}.css`), ...texts.map(pathOfTexts)]);
  active.postMessage(["/", "/app.webmanifest", ...own, ...later, "/label.js", "/cameras.js", "/regions.js"]);
}).catch(() => {});
