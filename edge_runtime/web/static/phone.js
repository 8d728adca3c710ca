// The camera of the device that shows the page: asks the board what it sees, once per second.
import { $, act, enrolledText, offerUndo, pathOf, request, say, setText } from "./api.js";
import { t } from "./i18n.js";
import { showAnswer } from "./query.js";

const PACE_MS = 1000;
const SIDE = 640; // longer side of what is sent, in pixels
let context;
let stream = null;
let lock = null; // keeps the screen on

/** Return why the browser gives no camera, or "". */
function obstacle() {
  if (!window.isSecureContext) {
    return t("The browser gives a camera only to an encrypted page. Open this page with https; docs/DAEMON.md says how to make a certificate. Until then, “Enroll a photo” takes photos, too.");
  }
  return navigator.mediaDevices?.getUserMedia ? "" : t("This browser gives pages no camera.");
}

async function picture() {
  const video = $("phone-view");
  const scale = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale)];
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
}

const post = async (path) =>
  request(path, { method: "POST", headers: { "Content-Type": "image/jpeg" }, body: await picture() });

async function keepAsking(mine) {
  while (stream === mine) {
    const began = Date.now();
    try {
      if (!document.hidden && $("phone-view").videoWidth) {
        const answer = await post("/api/query");
        if (stream !== mine) return;
        showAnswer("phone", answer);
        $("phone-sight").classList.remove("stale");
        if ($("phone-message").classList.contains("error")) say($("phone-message"), "");
      }
    } catch (error) {
      $("phone-sight").classList.add("stale");
      say($("phone-message"), error.message, true);
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(100, PACE_MS - (Date.now() - began))));
  }
}

function showRunning(running) {
  for (const id of ["phone-view", "phone-sight", "phone-form"]) $(id).hidden = !running;
  $("phone-why").hidden = running;
  setText($("phone-start"), running ? t("Stop the camera") : t("Start the camera"));
  $("phone-start").classList.toggle("plain", running);
}

async function begin() {
  say($("phone-message"), "");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch (error) {
    const denied = error.name === "NotAllowedError";
    say($("phone-message"), denied ? t("The browser was not allowed to use the camera. Allow it in the browser’s settings of this page.")
      : t("The camera cannot be used: {reason}", { reason: error.message }), true);
    return;
  }
  if (context.view !== "phone") { end(); return; }
  $("phone-view").srcObject = stream;
  await $("phone-view").play();
  setText($("phone-name"), "…");
  setText($("phone-detail"), "");
  showRunning(true);
  lock = await navigator.wakeLock?.request("screen").catch(() => null);
  keepAsking(stream);
}

function end() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  $("phone-view").srcObject = null;
  lock?.release().catch(() => {});
  lock = null;
  showRunning(false);
}

export function start(given) {
  context = given;
  const why = obstacle();
  $("phone-why").textContent = why || t("Point it at something. The pictures go to the board alone, which keeps none that you do not enroll.");
  $("phone-start").disabled = Boolean(why);
  $("phone-start").addEventListener("click", () => (stream ? end() : begin()));
  context.on("show", (view) => { if (view !== "phone" && stream) end(); });
  $("phone-form").addEventListener("submit", (event) => {
    event.preventDefault();
    act($("phone-form"), $("phone-message"), async () => {
      const answer = await post(pathOf($("phone-label").value.trim()));
      const changed = () => { context.revision += 1; context.tell("gallery"); };
      offerUndo($("phone-undo"), answer.pictures, $("phone-message"), changed);
      changed();
      return enrolledText(answer);
    });
  });
}
