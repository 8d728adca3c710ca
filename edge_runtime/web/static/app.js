// The page of a running daemon. Text from other sources is only set as textContent, never as HTML.
const $ = (id) => document.getElementById(id);
const element = (name, text = "", attributes = {}) => {
  const created = document.createElement(name);
  created.textContent = text;
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  return created;
};
const ms = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(0));
const percent = (value) => `${Math.round(value * 100)}%`;
const countOf = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const pathOf = (label) => `/api/labels/${encodeURIComponent(label)}`;
const STAGES = ["decode", "wait", "fit", "gate", "hash", "lookup", "decide", "publish", "end_to_end"];

let stream = null;
let shownLabel = null;
let revision = 0; // part of the URL of each thumbnail, so that a change reloads it

async function request(path, options = {}) {
  const response = await fetch(path, options);
  const body = await response.json().catch(() => ({}));
  if (response.status === 401 && path !== "/api/session") showLogin();
  if (!response.ok) {
    const error = new Error([body.error, body.remedy].filter(Boolean).join(": ") || response.statusText);
    throw Object.assign(error, { status: response.status });
  }
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
    await request("/api/session", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    $("login").hidden = true;
    $("token").value = $("login-error").textContent = "";
    await start();
  } catch (error) {
    $("login-error").textContent = error.message;
  }
});

// -- live -----------------------------------------------------------------------------------------

function setState(name) {
  if ($("state").textContent !== name) $("state").textContent = name;
  $("state").className = `pill ${name}`;
}

function showMatch(available) {
  $("match").hidden = !available;
  $("no-match").hidden = available;
}
$("match").addEventListener("load", () => showMatch(shownLabel !== null));
$("match").addEventListener("error", () => showMatch(false));

function showRecognition(status) {
  const { recognition } = status;
  const label = recognition ? recognition.label : null;
  if (shownLabel !== label) {
    shownLabel = label;
    $("recognition").textContent = label ?? "unknown";
    showMatch(false);
    $("no-match").textContent = label === null ? "unknown" : `${label} has no thumbnail`;
    if (label !== null) {
      $("match").src = `${pathOf(label)}/photo?v=${revision}`;
      $("match").alt = `Enrolled photo of ${label}`;
    }
  }
  const nearest = status.nearest ? `nearest: ${countOf(status.nearest.distance, "bit")}` : "the gallery is empty";
  $("recognition-detail").textContent = recognition
    ? `${percent(recognition.confidence)} of the frames, ${nearest}` : nearest;
}

function showStages(status) {
  const table = $("stages");
  for (const stage of STAGES) {
    const value = stage === "hash" && "pack" in status.stage_ms
      ? status.stage_ms.hash + status.stage_ms.pack : status.stage_ms[stage];
    let row = document.getElementById(`stage-${stage}`);
    if (value === undefined && !row) continue;
    if (!row) {
      row = element("tr", "", { id: `stage-${stage}` });
      row.append(element("th", stage.replaceAll("_", " "), { scope: "row" }), element("td"), element("td"));
      row.children[1].append(element("progress", "", { "aria-label": `${stage}, share of the budget` }));
      table.append(row);
    }
    const bar = row.querySelector("progress");
    bar.max = status.budget_ms;
    bar.value = Math.min(value ?? 0, status.budget_ms);
    row.children[2].textContent = value === undefined ? "skipped" : `${ms(value)} ms`;
  }
  const frames = status.gate.hashed + status.gate.unchanged;
  $("speed-detail").textContent = `Budget: ${ms(status.budget_ms)} ms per frame.` +
    (frames ? ` ${percent(status.gate.unchanged / frames)} of the frames were unchanged and not hashed.` : "");
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
      (status.board.throttling ?? []).join(", "), status.board.slow ? "reduced frame rate" : "",
      `${(status.rss_bytes / 1e6).toFixed(0)} MB`,
    ].filter(Boolean).join(", "),
    "Last error": status.last_error ?? "none",
  };
  for (const [name, text] of Object.entries(facts)) {
    const id = `about-${name.toLowerCase().replaceAll(" ", "-")}`;
    if (!$(id)) $("about").append(element("dt", name), element("dd", "", { id }));
    $(id).textContent = text;
  }
}

function showStatus(status) {
  setState(status.camera.state);
  showRecognition(status);
  showStages(status);
  showAbout(status);
  if (status.live_view && !$("live-view").src) $("live-view").src = "/live.mjpg";
  $("live-caption").textContent = status.live_view ? "Camera" : "The live view is disabled.";
}

function showEvent(event, first = true) {
  const item = element("li");
  const time = element("time", new Date(event.time).toLocaleTimeString(), { datetime: event.time });
  item.append(time, element("span", `${event.kind === "enter" ? "entered" : "left"}: ${event.label}`));
  $("events")[first ? "prepend" : "append"](item);
  $("no-events").hidden = true;
  while ($("events").children.length > 50) $("events").lastChild.remove();
}

// -- gallery --------------------------------------------------------------------------------------

async function showLabels() {
  const { labels } = await request("/api/labels");
  $("labels").replaceChildren(...labels.map(({ label, pictures }) => {
    const card = element("li");
    const picture = element("img", "", { src: `${pathOf(label)}/photo?v=${revision}`, alt: "", loading: "lazy" });
    picture.addEventListener("error", () => picture.remove());
    const button = element("button", "Remove", { type: "button", "aria-label": `Remove ${label}` });
    button.addEventListener("click", () => remove(label));
    const name = element("p", label);
    name.append(element("span", ` (${countOf(pictures, "photo")})`, { class: "quiet" }));
    card.append(picture, name, button);
    return card;
  }));
  $("no-labels").hidden = labels.length > 0;
}

async function change(action, messageOf) {
  const buttons = document.querySelectorAll("#gallery button");
  buttons.forEach((button) => { button.disabled = true; });
  try {
    const answer = await action();
    $("enroll-message").className = "";
    $("enroll-message").textContent = messageOf(answer);
    revision += 1;
    shownLabel = undefined;
    await showLabels();
  } catch (error) {
    $("enroll-message").className = "error";
    $("enroll-message").textContent = error.message;
  }
  document.querySelectorAll("#gallery button").forEach((button) => { button.disabled = false; });
}

async function remove(label) {
  $("confirm-text").textContent = `Remove ${label} with all its photos?`;
  $("confirm").returnValue = "no";
  $("confirm").showModal();
  await new Promise((resolve) => $("confirm").addEventListener("close", resolve, { once: true }));
  if ($("confirm").returnValue !== "yes") return;
  await change(() => request(pathOf(label), { method: "DELETE" }), () => `${label} was removed.`);
  $("gallery").focus();
}

const enrolled = (answer) =>
  answer.pictures_added ? `${answer.label} was enrolled.` : `${answer.label} already has this photo.`;

$("enroll-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const label = $("label").value.trim();
  change(() => request(`${pathOf(label)}/frame`, { method: "POST" }), enrolled);
});

$("photo").addEventListener("change", () => {
  const [file] = $("photo").files;
  if (!file || !$("enroll-form").reportValidity()) { $("photo").value = ""; return; }
  const options = { method: "POST", headers: { "Content-Type": file.type || "image/jpeg" }, body: file };
  change(() => request(pathOf($("label").value.trim()), options), enrolled);
  $("photo").value = "";
});

// -- advice ---------------------------------------------------------------------------------------

const pair = (text, ...photos) => {
  const line = element("dd", text), row = element("span", "", { class: "photos" });
  for (const { id, label } of photos) {
    const kept = element("img", "", { src: `/api/pictures/${id}`, alt: `Enrolled photo of ${label}`, loading: "lazy" });
    kept.addEventListener("error", () => kept.remove());
    row.append(kept);
  }
  line.append(row);
  return line;
};
const photoOf = ({ label, source }) => `${label} (${source.split("/").pop() || "no file"})`;
const FINDINGS = {
  "Too few photos": (advice) => advice.few.map((one) => pair(`${one.label}: ${one.needed} more`)),
  "Wrong label": (advice) => advice.mislabeled.map((one) =>
    pair(`${photoOf(one.picture)} looks like ${one.other.label}`, one.picture, one.other)),
  "Hard to tell apart": (advice) => advice.alike.map((one) =>
    pair(`${one.label} and ${one.other_label}: ${one.mistaken} of ${countOf(one.checked, "photo")} may be mistaken for the other`,
      one.picture, one.other)),
  "Under two labels": (advice) => advice.duplicates.map((one) =>
    pair(`${photoOf(one.picture)} and ${photoOf(one.other)}`, one.picture, one.other)),
  "Near duplicates": (advice) => advice.repeated.map((one) =>
    pair(`${photoOf(one.picture)} and ${photoOf(one.other)}`, one.picture, one.other)),
  "Show too little": (advice) => advice.photos.faulty.map((one) =>
    pair(`${photoOf(one.picture)}: ${one.fault}`, one.picture)),
};
const SHOWN = 5;

function showAdvice(advice) {
  $("actions").replaceChildren(...advice.actions.map((action) => element("li", action)));
  const { accuracy } = advice;
  $("accuracy").textContent = accuracy
    ? `Expected for new photos like the enrolled ones: ${percent(accuracy.right / accuracy.pictures)} right, ` +
      `${percent(accuracy.unknown / accuracy.pictures)} unknown, ${percent(accuracy.wrong / accuracy.pictures)} wrong ` +
      `(${countOf(accuracy.pictures, "photo")}, each without itself).` : advice.note;
  $("findings").replaceChildren(...Object.entries(FINDINGS).flatMap(([title, linesOf]) => {
    const lines = linesOf(advice);
    if (!lines.length) return [];
    const more = lines.length > SHOWN ? [element("dd", `and ${lines.length - SHOWN} more`, { class: "quiet" })] : [];
    return [element("dt", title), ...lines.slice(0, SHOWN), ...more];
  }));
}

$("advise").addEventListener("click", async () => {
  $("advise").disabled = true;
  $("advice-message").className = "";
  $("advice-message").textContent = "Comparing the photos.";
  try {
    showAdvice(await request("/api/advice"));
    $("advice-message").textContent = "";
  } catch (error) {
    $("advice-message").className = "error";
    $("advice-message").textContent = error.message;
  }
  $("advise").disabled = false;
});

// -- start ----------------------------------------------------------------------------------------

async function showGallery() {
  let readOnly = false; // this token permits only to look
  await showLabels().catch((error) => {
    readOnly = error.status === 403;
    if (!readOnly) throw error;
  });
  $("gallery").hidden = $("advice").hidden = readOnly;
}

async function start() {
  showStatus(await request("/api/status"));
  await showGallery();
  const { events } = await request("/api/events");
  $("events").replaceChildren();
  for (const event of events) showEvent(event, false);
  stream?.close();
  stream = new EventSource("/api/stream");
  stream.addEventListener("status", (message) => showStatus(JSON.parse(message.data)));
  stream.addEventListener("recognition", (message) => showEvent(JSON.parse(message.data)));
  stream.addEventListener("error", () => {
    setState("gone");
    // Refused, and not just interrupted: the token may have changed, so this asks for it.
    if (stream?.readyState === EventSource.CLOSED) request("/api/status").catch(() => {});
  });
}

start().catch(() => setState("gone"));
