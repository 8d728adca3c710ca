// Enrolling from the live view: one picture or several, with hints, the nearest labels, and undo.
import { $, FAULTS, act, element, enrolledText, offerUndo, pathOf, queryOf, request, say, setText } from "./api.js";
import { plural, t } from "./i18n.js";

const HOLD_MS = 400; // a press that is longer records
const PACE_MS = 400; // between two pictures at least, within the limit of requests
const LOOK_MS = 1000;
let context;
let recording = null; // what is being recorded
let busy = false; // whether a single picture is being enrolled

const label = () => $("label").value.trim();
const place = () => JSON.parse($("enroll-from").value || "{}");

const camera = () => context.status?.cameras.find(({ name }) => name === place().camera) ?? context.status?.cameras[0];

/** Return why nothing can be recorded now, or "". */
function obstacle() {
  if (context.gone) return t("The board does not answer.");
  return camera()?.fresh ? "" : t("Camera “{name}” delivers no pictures, so there is nothing to record.", { name: camera()?.name });
}

function showObstacle() {
  const why = context.locked ? "" : obstacle();
  setText($("record-why"), why);
  if (!why && busy) return;
  $("enroll-frame").disabled = Boolean(why);
  if (!why) return;
  recording = null;
  $("near").replaceChildren();
  setText($("hint"), "");
}

function changed() {
  context.revision += 1;
  context.tell("gallery");
}

// -- one picture ----------------------------------------------------------------------------------

async function enroll(path, options = {}) {
  busy = true;
  await act($("enroll-form"), $("enroll-message"), async () => {
    const answer = await request(path, { method: "POST", ...options });
    offerUndo($("undo"), answer.pictures, $("enroll-message"), changed);
    changed();
    return enrolledText(answer);
  });
  busy = false;
  showObstacle();
}

// -- several pictures -----------------------------------------------------------------------------

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function summary({ label, ids, left }) {
  const out = Object.values(left).reduce((sum, count) => sum + count, 0);
  const text = plural(ids.length, "{label}: {n} picture was enrolled.", "{label}: {n} pictures were enrolled.");
  const why = Object.keys(left).map((fault) => t(FAULTS[fault])).join(" ");
  return text.replace("{label}", () => label) + (out ? ` ${plural(out, "{n} was left out.", "{n} were left out.")} ${why}` : "");
}

async function record() {
  if (recording || !$("enroll-form").reportValidity()) return;
  const mine = recording = { label: label(), ids: [], left: {} };
  const path = `${pathOf(mine.label)}/frame${queryOf({ ...place(), careful: 1 })}`;
  $("enroll-frame").classList.add("recording");
  say($("enroll-message"), "");
  try {
    while (recording === mine) {
      const began = Date.now();
      const { pictures, fault } = await request(path, { method: "POST" });
      mine.ids.push(...pictures);
      if (fault) mine.left[fault] = (mine.left[fault] ?? 0) + 1;
      setText($("hint"), fault ? t(FAULTS[fault]) : "");
      setText($("enroll-text"), plural(mine.ids.length, "{n} picture", "{n} pictures"));
      await pause(Math.max(0, PACE_MS - (Date.now() - began)));
    }
    say($("enroll-message"), summary(mine));
  } catch (error) {
    say($("enroll-message"), `${summary(mine)} ${error.message}`, true);
  }
  if (recording === mine) recording = null;
  $("enroll-frame").classList.remove("recording");
  setText($("enroll-text"), t("Record"));
  offerUndo($("undo"), mine.ids, $("enroll-message"), changed);
  changed();
}

function listen() {
  const button = $("enroll-frame");
  let timer = null;
  let held = false; // whether the click that follows ends a recording
  const begin = () => { held = true; record(); };
  const end = () => { clearTimeout(timer); recording = null; };
  button.addEventListener("pointerdown", (event) => {
    held = false;
    if (event.button) return;
    button.setPointerCapture(event.pointerId);
    timer = setTimeout(begin, HOLD_MS);
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) button.addEventListener(kind, end);
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  button.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    if (!event.repeat) held = false;
    else event.preventDefault();
    if (event.repeat && !held) begin();
  });
  button.addEventListener("keyup", end);
  button.addEventListener("click", (event) => {
    if (held) event.preventDefault();
    held = false;
  });
  window.addEventListener("blur", end);
}

// -- what helps -----------------------------------------------------------------------------------

function bar({ label, similarity, distance }, limit) {
  // Of codes, the distance counts; the bar is full at the same code.
  const bits = context.status.model.bits;
  const share = (one, other) => Math.min(1, Math.max(0, one ?? 1 - other / bits));
  const [value, from] = [share(similarity, distance), share(limit.similarity, limit.distance)];
  const known = limit.distance === null ? value >= from : distance <= limit.distance;
  const fill = element("span", "", { class: "fill" });
  fill.style.width = `${value * 100}%`;
  const tick = element("span", "", { class: "tick" });
  tick.style.left = `${from * 100}%`;
  const state = known ? t("similar enough to be named") : t("not similar enough to be named");
  return element("li", "", { class: known ? "known" : "" }, element("span", label, { class: "name" }),
    element("span", "", { class: "bar", role: "img", "aria-label": state, title: state }, fill, tick));
}

async function look() {
  const form = $("enroll-form");
  const used = label() || form.contains(document.activeElement);
  if (context.role !== "owner" || context.locked || context.view !== "live" || document.hidden
    || recording || !used || obstacle()) return;
  const found = await request(`/api/look${queryOf(place())}`);
  if (recording) return;
  setText($("hint"), found.hint ? t(FAULTS[found.hint]) : t("A good picture."));
  $("hint").classList.toggle("good", !found.hint);
  $("near").replaceChildren(...found.nearest.map((one) => bar(one, found.known_from)));
}

async function keepLooking() {
  for (;;) {
    await look().catch(() => { $("near").replaceChildren(); setText($("hint"), ""); });
    await pause(LOOK_MS);
  }
}

function showPlaces(status) {
  const places = status.cameras.flatMap((camera) => camera.regions.map((region) =>
    ({ camera: camera.name, region: region.name })));
  const options = places.map((each) => [JSON.stringify(each), [each.camera, each.region].filter(Boolean).join(" / ")]);
  const select = $("enroll-from");
  const key = JSON.stringify(options);
  if (select.dataset.options === key) return;
  select.dataset.options = key;
  const chosen = select.value;
  select.replaceChildren(...options.map(([value, text]) => element("option", text, { value })));
  if (options.some(([value]) => value === chosen)) select.value = chosen;
  select.hidden = options.length < 2;
}

export function start(given) {
  context = given;
  listen();
  context.on("status", (status) => {
    showPlaces(status);
    showObstacle();
  });
  context.on("gone", showObstacle);
  $("enroll-form").addEventListener("submit", (event) => {
    event.preventDefault();
    enroll(`${pathOf(label())}/frame${queryOf(place())}`);
  });
  $("photo").addEventListener("change", () => {
    const [file] = $("photo").files;
    if (file && $("enroll-form").reportValidity()) {
      enroll(pathOf(label()), { headers: { "Content-Type": file.type || "image/jpeg" }, body: file });
    }
    $("photo").value = "";
  });
  $("enroll-from").addEventListener("change", () => {
    showObstacle();
    const card = document.querySelector(`.camera[data-name="${CSS.escape(place().camera)}"]`);
    card?.scrollIntoView({ block: "nearest", inline: "start" });
  });
  keepLooking();
}
