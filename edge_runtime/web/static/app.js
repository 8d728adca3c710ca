// The page of a running daemon. Text from outside is only ever set as textContent.
const $ = (id) => document.getElementById(id);
const make = (name, text = "", attributes = {}) => {
  const element = document.createElement(name);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};
const ms = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(0));
const share = (value) => `${Math.round(value * 100)} %`;
const countOf = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const pathOf = (label) => `/api/labels/${encodeURIComponent(label)}`;
const STAGES = ["decode", "wait", "fit", "gate", "hash", "lookup", "decide", "publish", "end_to_end"];

let stream = null;
let shown = null;
let photos = 0; // grows with each change, so that changed photos are fetched anew

async function ask(path, options = {}) {
  const answer = await fetch(path, options);
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401 && path !== "/api/session") showLogin();
  if (!answer.ok) throw new Error([body.error, body.remedy].filter(Boolean).join(": ") || answer.statusText);
  return body;
}

function showLogin() {
  stream?.close();
  stream = null;
  $("login").hidden = false;
  $("token").focus();
}

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const body = JSON.stringify({ token: $("token").value });
    await ask("/api/session", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    $("login").hidden = true;
    $("token").value = $("login-fault").textContent = "";
    await start();
  } catch (fault) {
    $("login-fault").textContent = fault.message;
  }
});

// -- now ------------------------------------------------------------------------------------------

function setState(name) {
  if ($("state").textContent !== name) $("state").textContent = name;
  $("state").className = `pill ${name}`;
}

function showMatch(there) {
  $("match").hidden = !there;
  $("no-match").hidden = there;
}
$("match").addEventListener("load", () => showMatch(shown !== null));
$("match").addEventListener("error", () => showMatch(false));

function showRecognition(status) {
  const held = status.recognition;
  const label = held ? held.label : null;
  if (shown !== label) {
    shown = label;
    $("recognition").textContent = label ?? "unknown";
    showMatch(false);
    $("no-match").textContent = label === null ? "unknown" : `no photo of ${label} was kept`;
    if (label !== null) {
      $("match").src = `${pathOf(label)}/photo?v=${photos}`;
      $("match").alt = `The enrolled photo of ${label}`;
    }
  }
  const near = status.nearest ? `nearest: ${status.nearest.distance} bits` : "the gallery is empty";
  $("recognition-note").textContent = held ? `${share(held.confidence)} of the frames, ${near}` : near;
}

function showStages(status) {
  const body = $("stages");
  for (const stage of STAGES) {
    const value = stage === "hash" && "pack" in status.stage_ms
      ? status.stage_ms.hash + status.stage_ms.pack : status.stage_ms[stage];
    let row = document.getElementById(`stage-${stage}`);
    if (value === undefined && !row) continue;
    if (!row) {
      row = make("tr", "", { id: `stage-${stage}` });
      row.append(make("th", stage.replaceAll("_", " "), { scope: "row" }), make("td"), make("td"));
      row.children[1].append(make("progress", "", { "aria-label": `${stage} of the budget` }));
      body.append(row);
    }
    const bar = row.querySelector("progress");
    bar.max = status.budget_ms;
    bar.value = Math.min(value ?? 0, status.budget_ms);
    row.children[2].textContent = value === undefined ? "not needed" : `${ms(value)} ms`;
  }
  const seen = status.gate.hashed + status.gate.unchanged;
  $("speed-note").textContent = `Budget: ${ms(status.budget_ms)} ms a frame.` +
    (seen ? ` ${share(status.gate.unchanged / seen)} of the frames had not changed.` : "");
}

function showAbout(status) {
  const age = status.frame_age_s === null ? "none yet" : `${status.frame_age_s.toFixed(1)} s old`;
  const camera = status.camera;
  const facts = {
    Camera: `${camera.name}, frame ${age}, ${camera.restarts} restarts, ${camera.dropped} dropped`,
    Engine: `${status.engine.name}: ${status.engine.reason}`,
    Model: `${status.model.name} ${status.model.version}, ${status.model.id.slice(0, 12)}`,
    Gallery: `${countOf(status.gallery.labels, "label")}, ${countOf(status.gallery.codes, "code")}, revision ${status.gallery.generation}`,
    Board: [
      status.board.temperature_c === null ? "" : `${status.board.temperature_c.toFixed(0)} °C`,
      (status.board.throttling ?? []).join(", "), status.board.slow ? "going slow" : "",
      `${(status.rss_bytes / 1e6).toFixed(0)} MB`,
    ].filter(Boolean).join(", "),
    "Last error": status.last_error ?? "none",
  };
  for (const [name, text] of Object.entries(facts)) {
    const id = `about-${name.toLowerCase().replaceAll(" ", "-")}`;
    if (!$(id)) $("about").append(make("dt", name), make("dd", "", { id }));
    $(id).textContent = text;
  }
}

function showStatus(status) {
  setState(status.camera.state);
  showRecognition(status);
  showStages(status);
  showAbout(status);
  if (status.live_view && !$("live").src) $("live").src = "/live.mjpg";
  $("live-note").textContent = status.live_view ? "Camera" : "The live view is off.";
}

function showEvent(event, first = true) {
  const item = make("li");
  const time = make("time", new Date(event.time).toLocaleTimeString(), { datetime: event.time });
  item.append(time, make("span", `${event.kind === "enter" ? "came" : "left"}: ${event.label}`));
  $("events")[first ? "prepend" : "append"](item);
  $("no-events").hidden = true;
  while ($("events").children.length > 50) $("events").lastChild.remove();
}

// -- gallery --------------------------------------------------------------------------------------

async function showLabels() {
  const { labels } = await ask("/api/labels");
  $("labels").replaceChildren(...labels.map(({ label, pictures }) => {
    const card = make("li");
    const picture = make("img", "", { src: `${pathOf(label)}/photo?v=${photos}`, alt: "", loading: "lazy" });
    picture.addEventListener("error", () => picture.remove());
    const button = make("button", "Remove", { type: "button", "aria-label": `Remove ${label}` });
    button.addEventListener("click", () => remove(label));
    const name = make("p", label);
    name.append(make("span", ` (${countOf(pictures, "photo")})`, { class: "quiet" }));
    card.append(picture, name, button);
    return card;
  }));
  $("no-labels").hidden = labels.length > 0;
}

async function change(work, done) {
  const buttons = document.querySelectorAll("#gallery button");
  buttons.forEach((button) => { button.disabled = true; });
  try {
    const answer = await work();
    $("enrol-note").className = "";
    $("enrol-note").textContent = done(answer);
    photos += 1;
    shown = undefined;
    await showLabels();
  } catch (fault) {
    $("enrol-note").className = "fault";
    $("enrol-note").textContent = fault.message;
  }
  document.querySelectorAll("#gallery button").forEach((button) => { button.disabled = false; });
}

async function remove(label) {
  $("ask-text").textContent = `Forget ${label} with all its photos?`;
  $("ask").returnValue = "no";
  $("ask").showModal();
  await new Promise((closed) => $("ask").addEventListener("close", closed, { once: true }));
  if ($("ask").returnValue !== "yes") return;
  await change(() => ask(pathOf(label), { method: "DELETE" }), () => `${label} is forgotten.`);
  $("gallery").focus();
}

const enrolled = (answer) =>
  answer.pictures_added ? `${answer.label} is enrolled.` : `${answer.label} already has this photo.`;

$("enrol-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const label = $("label").value.trim();
  change(() => ask(`${pathOf(label)}/frame`, { method: "POST" }), enrolled);
});

$("photo").addEventListener("change", () => {
  const [file] = $("photo").files;
  if (!file || !$("enrol-form").reportValidity()) { $("photo").value = ""; return; }
  const options = { method: "POST", headers: { "Content-Type": file.type || "image/jpeg" }, body: file };
  change(() => ask(pathOf($("label").value.trim()), options), enrolled);
  $("photo").value = "";
});

// -- start ----------------------------------------------------------------------------------------

async function start() {
  showStatus(await ask("/api/status"));
  await showLabels();
  const { events } = await ask("/api/events");
  $("events").replaceChildren();
  for (const event of events) showEvent(event, false);
  stream?.close();
  stream = new EventSource("/api/stream");
  stream.addEventListener("status", (message) => showStatus(JSON.parse(message.data)));
  stream.addEventListener("recognition", (message) => showEvent(JSON.parse(message.data)));
  stream.addEventListener("error", () => setState("gone"));
}

start().catch(() => setState("gone"));
