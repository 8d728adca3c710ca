// The live view: what each camera sees, what is recognized in it, and enrolling from it.
import { $, act, element, pathOf, queryOf, request, setText } from "./api.js";
import { clock, duration, percent, t } from "./i18n.js";

let context;
const cards = new Map(); // the cards of the cameras, by name

// -- cameras --------------------------------------------------------------------------------------

class Sight {
  // What is recognized in one region of a camera.
  constructor(name) {
    this.label = undefined;
    this.match = element("img", "", { alt: "", class: "match", width: 96, height: 72 });
    this.match.addEventListener("load", () => { this.match.hidden = false; });
    this.match.addEventListener("error", () => { this.match.hidden = true; });
    this.match.hidden = true;
    this.name = element("p", "", { class: "recognition", "aria-live": "polite" });
    this.detail = element("p", "", { class: "detail quiet" });
    const words = element("div", "", {}, this.name, this.detail);
    if (name) words.prepend(element("h4", name));
    this.element = element("div", "", { class: "sight" }, this.match, words);
  }

  show(region, fresh) {
    const { recognition } = region;
    const label = recognition?.label ?? null;
    this.element.classList.toggle("stale", !fresh);
    if (this.label !== label || this.revision !== context.revision) {
      this.match.hidden = true;
      if (label !== null) {
        this.match.src = `${pathOf(label)}/photo?v=${context.revision}`;
        this.match.alt = t("Enrolled photo of {label}", { label });
      }
    }
    [this.label, this.revision] = [label, context.revision];
    setText(this.name, label ?? t("unknown"));
    setText(this.detail, recognition ? t("{share} sure", { share: percent(recognition.confidence) }) : "");
    if (!fresh && region.age_s !== null) setText(this.detail, t("{age} ago", { age: duration(region.age_s) }));
  }
}

class Card {
  // One camera.
  constructor(name) {
    this.name = name;
    this.view = element("img", "", { class: "live-view", width: 640, height: 480, alt: t("What the camera {name} sees", { name }) });
    this.outlines = element("div", "", { class: "outlines" });
    this.sights = new Map();
    this.list = element("div", "", { class: "sights" });
    this.element = element("article", "", { class: "card camera" },
      element("h3", name), element("div", "", { class: "picture" }, this.view, this.outlines), this.list);
  }

  show(camera) {
    const layout = JSON.stringify(camera.regions.map((region) => [region.name, region.area]));
    if (this.layout !== layout) {
      this.layout = layout;
      this.sights = new Map(camera.regions.map(({ name }) => [name, new Sight(name)]));
      this.list.replaceChildren(...[...this.sights.values()].map((sight) => sight.element));
      this.outlines.replaceChildren(...camera.regions.filter((region) => region.area).map((region) => {
        const outline = element("span", region.name, { class: "outline" });
        const [left, top, width, height] = region.area.map((share) => `${share * 100}%`);
        Object.assign(outline.style, { left, top, width, height });
        return outline;
      }));
    }
    for (const region of camera.regions) this.sights.get(region.name).show(region, camera.fresh && !context.gone);
    this.watch(context.view === "live" && context.status.live_view);
  }

  watch(wanted) {
    if (wanted === this.view.hasAttribute("src")) return;
    if (wanted) this.view.src = `/live.mjpg${queryOf({ camera: this.name })}`;
    else this.view.removeAttribute("src");
  }
}

function showCameras(status) {
  const names = status.cameras.map((camera) => camera.name);
  if (JSON.stringify(names) !== JSON.stringify([...cards.keys()])) {
    cards.clear();
    for (const name of names) cards.set(name, new Card(name));
    $("cameras").replaceChildren(...[...cards.values()].map((card) => card.element));
  }
  for (const camera of status.cameras) cards.get(camera.name).show(camera);
}

// -- events ---------------------------------------------------------------------------------------

function showEvent(event, first = true) {
  const text = event.kind === "enter" ? t("entered: {label}", event) : t("left: {label}", event);
  const item = element("li", "", {}, element("time", clock(event.time), { datetime: event.time }), element("span", text));
  $("events")[first ? "prepend" : "append"](item);
  $("no-events").hidden = true;
  while ($("events").children.length > 50) $("events").lastChild.remove();
}

async function showEvents() {
  const { events } = await request("/api/events");
  $("events").replaceChildren();
  for (const event of events) showEvent(event, false);
}

// -- enrolling ------------------------------------------------------------------------------------

function enroll(path, options) {
  return act($("enroll-form"), $("enroll-message"), async () => {
    const answer = await request(path, { method: "POST", ...options });
    context.revision += 1;
    context.tell("gallery");
    return answer.pictures_added ? t("{label} was enrolled.", answer) : t("{label} already has this photo.", answer);
  });
}

export function start(given) {
  context = given;
  context.on("status", showCameras);
  context.on("gone", () => { if (context.status) showCameras(context.status); });
  context.on("show", () => { if (context.status) showCameras(context.status); });
  context.on("event", (event) => showEvent(event));
  context.on("session", () => showEvents().catch(() => {}));
  $("enroll-form").addEventListener("submit", (event) => {
    event.preventDefault();
    enroll(`${pathOf($("label").value.trim())}/frame`);
  });
  $("photo").addEventListener("change", () => {
    const [file] = $("photo").files;
    if (file && $("enroll-form").reportValidity()) {
      enroll(pathOf($("label").value.trim()), { headers: { "Content-Type": file.type || "image/jpeg" }, body: file });
    }
    $("photo").value = "";
  });
}
