// The status: what is wrong, in words, and the figures of the daemon.
import { $, element, setText } from "./api.js";
import { duration, key, percent, plural, t } from "./i18n.js";

const STAGES = ["decode", "wait", "fit", "gate", "hash", "lookup", "decide", "publish", "end_to_end"];
const ms = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(0));
const STATES = {
  starting: key("starting"), running: key("running"), degraded: key("disturbed"), stopped: key("stopped"),
  gone: key("no connection"), locked: key("token required"),
};

function setState(name) {
  setText($("state"), t(STATES[name] ?? name));
  $("state").className = `pill ${name}`;
}

function showStages(name, stages, budget) {
  const id = `stages-${name}`;
  if (!$(id)) {
    $("stages").append(element("table", "", { id }, element("caption", name), element("tbody")));
  }
  const body = $(id).querySelector("tbody");
  for (const stage of STAGES) {
    const value = stage === "hash" && "pack" in stages ? stages.hash + stages.pack : stages[stage];
    let row = body.querySelector(`[data-stage=${stage}]`);
    if (value === undefined && !row) continue;
    if (!row) {
      const bar = element("progress", "", { "aria-label": t("{stage}, share of the budget", { stage }) });
      row = element("tr", "", { "data-stage": stage }, element("th", stage.replaceAll("_", " "), { scope: "row" }),
        element("td", "", {}, bar), element("td"));
      body.append(row);
    }
    const bar = row.querySelector("progress");
    bar.max = budget;
    bar.value = Math.min(value ?? 0, budget);
    setText(row.children[2], value === undefined ? t("skipped") : `${ms(value)} ms`);
  }
}

function showSpeed(status) {
  let hashed = 0, unchanged = 0;
  for (const camera of status.cameras) {
    for (const region of camera.regions) {
      hashed += region.gate.hashed;
      unchanged += region.gate.unchanged;
      showStages([camera.name, region.name].filter(Boolean).join(" / "), region.stage_ms, status.budget_ms);
    }
  }
  const frames = hashed + unchanged;
  setText($("speed-detail"), t("Budget: {n} ms per frame.", { n: ms(status.budget_ms) }) + (frames
    ? ` ${t("{share} of the frames were unchanged and not hashed.", { share: percent(unchanged / frames) })}` : ""));
}

function showAbout(status) {
  const board = status.board;
  const facts = Object.fromEntries(status.cameras.map((camera) => [
    t("Camera {name}", { name: camera.name }),
    [camera.source, t(STATES[camera.state] ?? camera.state),
      camera.frame_age_s === null ? t("no frame yet") : t("newest frame {age} old", { age: duration(camera.frame_age_s) }),
      t("{n} restarts", { n: camera.restarts }), t("{n} frames dropped", { n: camera.dropped })].join(", "),
  ]));
  Object.assign(facts, {
    [t("Engine")]: `${status.engine.name}: ${status.engine.reason}`,
    [t("Model")]: `${status.model.name} ${status.model.version}, ${status.model.id.slice(0, 12)}`,
    [t("Gallery")]: plural(status.gallery.labels, "{n} label", "{n} labels"),
    [t("Board")]: [board.name, board.temperature_c === null ? "" : `${board.temperature_c.toFixed(0)} °C`,
      ...(board.throttling ?? []), board.slow ? t("reduced frame rate") : "",
      `${(status.rss_bytes / 1e6).toFixed(0)} MB`].filter(Boolean).join(", "),
    [t("Running for")]: duration(status.uptime_s),
    [t("Version")]: status.version,
    [t("Last error")]: status.last_error ?? t("none"),
  });
  const lines = $("about").children;
  if (lines.length !== 2 * Object.keys(facts).length) {
    $("about").replaceChildren(...Object.keys(facts).flatMap((name) => [element("dt", name), element("dd")]));
  }
  Object.entries(facts).forEach(([name, text], at) => {
    setText(lines[2 * at], name);
    setText(lines[2 * at + 1], text);
  });
}

export function start(context) {
  context.on("status", (status) => {
    const states = status.cameras.map((camera) => camera.state);
    const wrong = ["stopped", "degraded", "starting"].find((state) => states.includes(state));
    setState(!status.alive ? "stopped" : wrong ?? (status.gallery.fault ? "degraded" : "running"));
    showSpeed(status);
    showAbout(status);
  });
  context.on("gone", () => setState(context.locked ? "locked" : "gone"));
}
