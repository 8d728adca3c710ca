// What is wrong, in words and large.
import { $, element } from "./api.js";
import { clock, duration, t } from "./i18n.js";

let context;
const began = new Map(); // when each fault was first seen, so that the text stays the same

function since(key, seconds) {
  const time = context.heard - seconds * 1000;
  if (!began.has(key) || Math.abs(began.get(key) - time) > 5000) began.set(key, time);
  return clock(began.get(key));
}

function* problems() {
  const { status } = context;
  if (context.locked) return;
  if (context.gone) {
    yield ["bad", t("The board does not answer"), status
      ? t("Nothing here is current. The last answer came at {time}. This page tries again every few seconds.",
        { time: clock(context.heard) })
      : t("Is the board on, and is this device in its network? This page tries again every few seconds.")];
    return;
  }
  if (!status) return;
  if (!status.alive) {
    yield ["bad", t("The program on the board hangs"), t("Nothing here is current since {time}.",
      { time: since("alive", status.turn_age_s) })];
  }
  if (status.gallery.fault) yield ["bad", t("The gallery cannot be used"), status.gallery.fault];
  for (const camera of status.cameras) {
    if (camera.fresh) continue;
    const key = `${camera.name} ${camera.state}`;
    const time = since(key, camera.state === "running" ? camera.frame_age_s ?? 0 : camera.state_s);
    if (camera.state === "starting" && !camera.fault) {
      yield ["warn", t("Camera “{name}” is starting", camera), camera.source];
    } else if (camera.state !== "running" || camera.frame_age_s !== null) {
      yield ["bad", t("Camera “{name}” delivers no pictures", camera),
        [camera.fault ?? camera.source, t("Since {time}.", { time })].join(". ")];
    }
  }
  for (const [name, sink] of Object.entries(status.sinks)) {
    if (sink.last_error && sink.waiting) {
      yield ["warn", t("Events do not reach {name}", { name }), sink.last_error];
    }
  }
  if (status.board.slow) {
    yield ["warn", t("The board is hot and looks less often"), [status.board.temperature_c === null ? ""
      : `${status.board.temperature_c.toFixed(0)} °C`, ...(status.board.throttling ?? [])].filter(Boolean).join(", ")];
  }
}

let shown = "";

function show() {
  const found = [...problems()];
  if (JSON.stringify(found) === shown) return;
  shown = JSON.stringify(found);
  $("alerts").replaceChildren(...found.map(([kind, title, text]) =>
    element("div", "", { class: `alert ${kind}` }, element("strong", title), element("p", text))));
}

/** Return how old what the page shows of a region is, in words. */
export function ageOf(region) {
  const seconds = (region.age_s ?? 0) + (Date.now() - context.heard) / 1000;
  return duration(seconds);
}

export function start(given) {
  context = given;
  context.on("status", show);
  context.on("gone", show);
}
