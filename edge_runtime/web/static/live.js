// The live view: what each camera sees, what is recognized in it, and the latest events.
import { $, element, pathOf, queryOf, request, setText } from "./api.js";
import { ageOf } from "./alerts.js";
import { clock, duration, percent, t } from "./i18n.js";

const MOST_STREAMS = 2; // a browser opens six connections to a host; more cameras are shown once per second
let context;
const cards = new Map(); // the cards of the cameras, by name
const seen = new Map(); // the label that was last recognized, by camera and region

// -- cameras --------------------------------------------------------------------------------------

class Sight {
  // What is recognized in one region of a camera.
  constructor(camera, name) {
    this.key = JSON.stringify([camera, name]);
    this.match = element("img", "", { alt: "", class: "match", width: 96, height: 72 });
    this.match.addEventListener("load", () => { this.match.hidden = false; });
    this.match.addEventListener("error", () => { this.match.hidden = true; });
    this.match.hidden = true;
    this.name = element("p", "", { class: "recognition", "aria-live": "polite" });
    this.detail = element("p", "", { class: "detail" });
    this.agreement = element("p", "", { class: "agreement quiet" });
    const words = element("div", "", {}, this.name, this.detail, this.agreement);
    if (name) words.prepend(element("h4", name));
    this.element = element("div", "", { class: "sight" }, this.match, words);
  }

  show(region, fresh) {
    const { recognition } = region;
    const label = fresh ? recognition?.label ?? null : null;
    if (label !== null) seen.set(this.key, { label, time: Date.now() });
    this.element.classList.toggle("stale", !fresh);
    this.element.classList.toggle("known", label !== null);
    this.showMatch(label);
    if (!fresh) {
      const last = seen.get(this.key);
      setText(this.agreement, "");
      setText(this.name, t("no current picture"));
      setText(this.detail, last ? t("Last recognized: {label}, {age} ago",
        { label: last.label, age: duration((Date.now() - last.time) / 1000) }) : "");
      return;
    }
    setText(this.name, label ?? t("unknown"));
    setText(this.detail, recognition ? t("{share} sure, for {time}",
      { share: percent(recognition.confidence), time: duration(recognition.since_s) })
      : context.status.gallery.labels ? t("This is not enrolled.") : t("Nothing is enrolled yet."));
    setText(this.agreement, recognition
      ? t("{share} of the recent frames agree", { share: percent(recognition.agreement) }) : "");
  }

  showMatch(label) {
    const version = label === null ? null : `${pathOf(label)}/photo?v=${context.revision}`;
    if (this.version === version) return;
    this.version = version;
    this.match.hidden = true;
    if (version === null) this.match.removeAttribute("src");
    else this.match.src = version;
    this.match.alt = label === null ? "" : t("Enrolled photo of {label}", { label });
  }
}

class Card {
  // One camera.
  constructor(name) {
    this.name = name;
    this.polls = false; // whether single pictures are fetched, as the board refuses a stream
    const alt = t("What the camera {name} sees", { name });
    this.view = element("img", "", { class: "live-view", width: 640, height: 480, alt });
    this.view.hidden = true; // until there is a picture
    this.view.addEventListener("error", () => {
      this.view.hidden = true;
      if (this.broken || context.gone) return; // it is opened again once the daemon answers
      this.polls ||= this.streams;
      this.close();
    });
    this.view.addEventListener("load", () => { this.view.hidden = false; });
    this.last = element("canvas", "", { class: "last", width: 640, height: 480, "aria-hidden": "true" });
    this.outlines = element("div", "", { class: "outlines", "aria-hidden": "true" });
    this.age = element("p", "", { class: "age" });
    this.list = element("div", "", { class: "sights" });
    this.element = element("article", "", { class: "card camera", "aria-label": name, "data-name": name },
      element("h3", name), element("div", "", { class: "picture" }, this.view, this.last, this.outlines, this.age), this.list);
  }

  show(camera, alone) {
    const fresh = camera.fresh && !context.gone && !context.locked;
    const layout = JSON.stringify(camera.regions.map((region) => [region.name, region.area]));
    if (this.layout !== layout) {
      this.layout = layout;
      this.sights = new Map(camera.regions.map(({ name }) => [name, new Sight(this.name, name)]));
      this.list.replaceChildren(...[...this.sights.values()].map((sight) => sight.element));
      this.outlines.replaceChildren(...camera.regions.filter((region) => region.area).map((region) => {
        const outline = element("span", region.name, { class: "outline" });
        const [left, top, width, height] = region.area.map((share) => `${share * 100}%`);
        Object.assign(outline.style, { left, top, width, height });
        return outline;
      }));
    }
    this.element.classList.toggle("alone", alone);
    this.element.classList.toggle("stale-view", !fresh);
    camera.regions.forEach((region, at) => {
      this.sights.get(region.name).show(region, fresh);
      this.outlines.children[at]?.classList.toggle("known", fresh && Boolean(region.recognition));
    });
    const newest = camera.regions[0];
    setText(this.age, !context.status.live_view ? t("The live view is disabled.")
      : fresh ? "" : newest.age_s === null ? t("no picture yet") : t("This picture is {age} old.", { age: ageOf(newest) }));
    if (fresh) this.keep();
    this.watch(fresh && context.status.live_view && context.view === "live" && !document.hidden);
  }

  keep() {
    // A browser shows nothing of a stream that has broken off, so the last picture is drawn.
    const { naturalWidth: width, naturalHeight: height } = this.view;
    if (!width || this.view.hidden) return;
    if (this.last.width !== width || this.last.height !== height) Object.assign(this.last, { width, height });
    this.last.getContext("2d").drawImage(this.view, 0, 0);
  }

  close() {
    this.view.removeAttribute("src");
    this.view.hidden = true;
  }

  watch(wanted) {
    this.streams = !this.polls && cards.size <= MOST_STREAMS;
    if (this.streams) {
      if (wanted && !this.view.hasAttribute("src")) this.view.src = `/live.mjpg${queryOf({ camera: this.name })}`;
      // A stream is closed where nobody looks; of a camera that failed, the last picture stays.
      if (!wanted && (context.view !== "live" || document.hidden)) this.close();
    } else if (wanted && (this.view.complete || !this.view.hasAttribute("src"))) {
      this.view.src = `/frame.jpg${queryOf({ camera: this.name, t: Date.now() })}`;
    }
  }
}

function showCameras() {
  const { status } = context;
  if (!status) return;
  const names = status.cameras.map((camera) => camera.name);
  if (JSON.stringify(names) !== JSON.stringify([...cards.keys()])) {
    cards.clear();
    for (const name of names) cards.set(name, new Card(name));
    $("cameras").replaceChildren(...[...cards.values()].map((card) => card.element));
    // On a phone, several cameras are a strip that the keyboard can scroll.
    if (names.length > 1) $("cameras").tabIndex = 0;
    else $("cameras").removeAttribute("tabindex");
  }
  for (const camera of status.cameras) cards.get(camera.name).show(camera, names.length === 1);
}

// -- events ---------------------------------------------------------------------------------------

function showEvent(event, first = true) {
  const text = event.kind === "enter" ? t("entered: {label}", event) : t("left: {label}", event);
  const where = [cards.size > 1 ? event.camera : "", event.region, event.reason].filter(Boolean).join(", ");
  const item = element("li", "", {}, element("time", clock(event.time), { datetime: event.time }),
    element("span", text), element("span", where, { class: "quiet" }));
  $("events")[first ? "prepend" : "append"](item);
  $("no-events").hidden = true;
  while ($("events").children.length > 50) $("events").lastChild.remove();
}

async function showEvents() {
  const { events } = await request("/api/events");
  $("events").replaceChildren();
  for (const event of events) {
    showEvent(event, false);
    const key = JSON.stringify([event.camera, event.region]);
    if (!seen.has(key)) seen.set(key, { label: event.label, time: Date.parse(event.time) });
  }
}

export function start(given) {
  context = given;
  for (const kind of ["status", "show"]) context.on(kind, showCameras);
  context.on("gone", () => {
    // A broken stream keeps its last picture; it is opened again once the daemon answers.
    for (const card of cards.values()) card.broken = card.view.hidden = true;
    showCameras();
  });
  context.on("session", () => {
    for (const card of cards.values()) {
      if (card.broken) card.close();
      card.broken = card.polls = false;
    }
    showEvents().catch(() => {});
  });
  context.on("event", (event) => showEvent(event));
  document.addEventListener("visibilitychange", showCameras);
}
