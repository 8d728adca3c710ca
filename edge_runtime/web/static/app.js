// The page of a running daemon: starts the views, and tells them what happens.
//
// Each view is a module with `start(context)`, called once. It listens with `context.on(kind, handler)`:
//   "session"  the page may ask the daemon (again): load your data; `context.role` is "owner" or "reader"
//   "status"   the status, once per second      "event"  a recognition event
//   "gone"     the daemon does not answer; once per second     "gallery"  labels or pictures have changed
//   "show"     the name of the view that is visible now
// A view whose link in the navigation is hidden calls `context.offer(name)` once it knows its use.
import { $, onRefused, request, send, setText } from "./api.js";
import { load, t } from "./i18n.js";
import * as alerts from "./alerts.js";
import * as enroll from "./enroll.js";
import * as phone from "./phone.js";
import * as advice from "./advice.js";
import * as gallery from "./gallery.js";
import * as history from "./history.js";
import * as inbox from "./inbox.js";
import * as live from "./live.js";
import * as settings from "./settings.js";
import * as status from "./status.js";

const handlers = {};
const context = {
  role: "reader",
  status: null, // the newest one
  heard: 0, // when it came, ms
  gone: false, // whether the daemon does not answer
  locked: false, // whether it asks for a token
  view: "live",
  revision: 0, // part of the URL of each thumbnail, so that a change reloads it
  on(kind, handler) { (handlers[kind] ??= []).push(handler); },
  tell(kind, value) { for (const handler of handlers[kind] ?? []) handler(value); },
  offer(name, offered = true) {
    document.querySelector(`#views a[href="#${name}"]`).hidden = !offered;
    navigate();
  },
};

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
  if (context.view === name && event) return;
  context.view = name;
  context.tell("show", name);
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
  context.gone = context.locked = false;
  document.body.classList.remove("waiting");
  setText($("board"), value.board.name);
  context.tell("status", value);
}

const SILENT_MS = 6000; // without a status for so long, the daemon is gone
const RETRY_MS = 5000;
let tried = 0;

function lose() {
  context.gone = true;
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
  context.tell("session", context.role);
  navigate();
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
await load();
for (const view of [alerts, status, live, enroll, phone, gallery, advice, inbox, history, settings]) view.start(context);
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
  active.postMessage(["/", "/app.webmanifest", ...own]);
}).catch(() => {});
