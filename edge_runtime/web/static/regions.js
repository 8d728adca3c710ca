// Regions are drawn on the live frame of each camera, with mouse, finger or keyboard.
import { act, element, queryOf, request, setText } from "./api.js";
import { key, plural, t } from "./i18n.js";

let context;
let apply;
const editors = new Map(); // by camera
const STEP = 0.01;
const LEAST = 0.02; // of the picture's width and height
const HELP = key("Drag on the picture to draw a region. Arrow keys move the selected region, with Shift they resize it, Delete removes it.");

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Return an area with its sides within the picture, in shares with four digits. */
function within([left, top, width, height]) {
  const side = (value) => clamp(value, LEAST, 1);
  const round = (value) => Math.round(value * 1e4) / 1e4;
  [width, height] = [side(width), side(height)];
  return [clamp(left, 0, 1 - width), clamp(top, 0, 1 - height), width, height].map(round);
}

class Editor {
  constructor(camera) {
    this.camera = camera;
    this.regions = []; // {name, area, labels}
    this.picture = element("img", "", { class: "live-view", alt: t("What the camera {name} sees", { name: camera }), draggable: "false" });
    this.layer = element("div", "", { class: "region-layer" });
    this.list = element("ul", "", { class: "plain-list" });
    this.cost = element("p", "", { class: "quiet" });
    this.message = element("p", "", { role: "status" });
    this.save = element("button", t("Save the regions"), { type: "button" });
    const add = element("button", t("Add a region"), { type: "button", class: "plain" });
    this.element = element("section", "", { class: "card", "data-camera": camera },
      element("h3", t("Regions of “{name}”", { name: camera })), element("p", t(HELP), { class: "quiet" }),
      element("div", "", { class: "picture regions" }, this.picture, this.layer), this.cost, this.list,
      element("div", "", { class: "row" }, add, this.save), this.message);
    add.addEventListener("click", () => { this.add([0.25, 0.25, 0.5, 0.5]); this.focus(this.regions.length - 1); });
    this.save.addEventListener("click", () => act(this.element, this.message, () => {
      const regions = this.regions.map(({ name, area, labels }) => ({ name, area, labels }));
      return apply("PUT", "/api/regions", { camera, regions });
    }));
    this.layer.addEventListener("pointerdown", (event) => this.draw(event));
  }

  set(regions, names, writable) {
    this.taken = names;
    this.regions = regions.map((region) => ({ ...region, area: within(region.area), labels: [...region.labels] }));
    this.writable = writable;
    for (const button of this.element.querySelectorAll("button")) button.disabled = !writable;
    this.changed = false;
    this.render();
  }

  add(area) {
    let number = this.regions.length + 1;
    while (this.taken.has(`region-${number}`) || this.regions.some(({ name }) => name === `region-${number}`)) number += 1;
    this.regions.push({ name: `region-${number}`, area: within(area), labels: [] });
    this.changed = true;
    this.render();
  }

  remove(at) {
    this.regions.splice(at, 1);
    this.changed = true;
    this.render();
    if (this.regions.length) this.focus(Math.min(at, this.regions.length - 1));
  }

  focus(at) { this.layer.children[at]?.focus(); }

  render() {
    this.layer.replaceChildren(...this.regions.map((region, at) => this.box(region, at)));
    this.list.replaceChildren(...this.regions.map((region, at) => this.row(region, at)));
    this.showCost(context.status);
  }

  place(box, area) {
    const [left, top, width, height] = area.map((share) => `${share * 100}%`);
    Object.assign(box.style, { left, top, width, height });
    const [x, y, w, h] = area.map((share) => Math.round(share * 100));
    box.setAttribute("aria-description", t("{w} by {h} percent, at {x} percent from the left and {y} percent from the top", { w, h, x, y }));
  }

  box(region, at) {
    const handle = element("span", "", { class: "handle" });
    const box = element("button", "", { type: "button", class: "region-box", "aria-label": t("Region {name}", region) }, element("span", region.name), handle);
    box.disabled = !this.writable;
    this.place(box, region.area);
    box.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
      if (event.key === "Delete") this.remove(at);
      else if (!step) return;
      else {
        const [left, top, width, height] = region.area;
        this.move(box, region, event.shiftKey ? [left, top, Math.min(width + step[0], 1 - left), Math.min(height + step[1], 1 - top)]
          : [left + step[0], top + step[1], width, height]);
      }
      event.preventDefault();
    });
    box.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      const [left, top, width, height] = region.area;
      const resizes = event.target === handle;
      this.drag(event, box, (dx, dy) => this.move(box, region, resizes
        ? [left, top, Math.min(width + dx, 1 - left), Math.min(height + dy, 1 - top)] : [left + dx, top + dy, width, height]));
    });
    return box;
  }

  move(box, region, area) {
    region.area = within(area);
    this.changed = true;
    this.place(box, region.area);
  }

  /** Call `moved` with the shares of the picture that the pointer has moved since `event`. */
  drag(event, target, moved, done = () => {}) {
    const { width, height } = this.layer.getBoundingClientRect();
    target.setPointerCapture(event.pointerId);
    const follow = (next) => moved((next.clientX - event.clientX) / width, (next.clientY - event.clientY) / height);
    target.addEventListener("pointermove", follow);
    const end = () => {
      target.removeEventListener("pointermove", follow);
      for (const kind of ["pointerup", "pointercancel"]) target.removeEventListener(kind, end);
      done();
    };
    for (const kind of ["pointerup", "pointercancel"]) target.addEventListener(kind, end);
  }

  draw(event) {
    if (!this.writable || event.button !== 0) return;
    event.preventDefault();
    const frame = this.layer.getBoundingClientRect();
    const [x, y] = [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
    const sketch = element("span", "", { class: "region-box" });
    let area = null;
    this.layer.append(sketch);
    this.drag(event, this.layer, (dx, dy) => {
      const [toX, toY] = [clamp(x + dx, 0, 1), clamp(y + dy, 0, 1)];
      area = [Math.min(x, toX), Math.min(y, toY), Math.abs(toX - x), Math.abs(toY - y)];
      this.place(sketch, area);
    }, () => {
      sketch.remove();
      if (area && area[2] >= LEAST && area[3] >= LEAST) {
        this.add(area);
        this.focus(this.regions.length - 1);
      }
    });
  }

  row(region, at) {
    const id = `region-${this.camera}-${at}`;
    const name = element("input", "", { id, required: "", maxlength: 32, pattern: "[A-Za-z0-9_\\-]+", autocomplete: "off" });
    name.value = region.name;
    name.addEventListener("input", () => {
      region.name = name.value;
      this.changed = true;
      const box = this.layer.children[at];
      box.firstChild.textContent = region.name;
      box.setAttribute("aria-label", t("Region {name}", region));
      this.save.disabled = !this.list.querySelector(":invalid") ? !this.writable : true;
    });
    const remove = element("button", t("Remove"), { type: "button", class: "danger", "aria-label": t("Remove the region {name}", region) });
    remove.addEventListener("click", () => this.remove(at));
    name.disabled = remove.disabled = !this.writable;
    return element("li", "", {}, element("label", t("Name"), { for: id }), name, this.labels(region), remove);
  }

  labels(region) {
    const chosen = element("summary");
    const describe = () => setText(chosen, region.labels.length ? t("Only: {labels}", { labels: region.labels.join(", ") }) : t("All labels"));
    describe();
    const choice = element("details", "", {}, chosen);
    choice.addEventListener("toggle", async () => {
      if (!choice.open || choice.children.length > 1) return;
      const { labels } = await request("/api/labels");
      const names = [...new Set([...labels.map((each) => each.label), ...region.labels])];
      choice.append(...names.map((label) => {
        const box = element("input", "", { type: "checkbox" });
        box.checked = region.labels.includes(label);
        box.addEventListener("change", () => {
          region.labels = names.filter((each) => (each === label ? box.checked : region.labels.includes(each)));
          this.changed = true;
          describe();
        });
        return element("label", "", { class: "choice" }, box, element("span", label));
      }));
    });
    return choice;
  }

  /** Say what the regions cost, with the latest measured hash. */
  showCost(status) {
    const regions = status?.cameras.find(({ name }) => name === this.camera)?.regions ?? [];
    const hashes = regions.map((region) => region.hash_ms).filter((ms) => ms !== null);
    if (hashes.length) this.hash = Math.max(...hashes);
    const count = Math.max(1, this.regions.length);
    const text = plural(count, "One hash per changed frame.", "{n} hashes per changed frame, one for each region.");
    setText(this.cost, this.hash === undefined ? text : `${text} ${t("One takes {ms} ms.", { ms: this.hash.toFixed(1) })}`);
  }

  refresh() {
    const fresh = context.status?.cameras.some((camera) => camera.name === this.camera && camera.fresh);
    if (fresh && context.status.live_view) this.picture.src = `/frame.jpg${queryOf({ camera: this.camera, at: Date.now() })}`;
  }
}

export function start(given, applies) {
  [context, apply] = [given, applies];
  let last = 0;
  context.on("status", (status) => {
    if (context.view !== "settings") return;
    for (const editor of editors.values()) editor.showCost(status);
    if (Date.now() - last < 1900) return;
    last = Date.now();
    for (const editor of editors.values()) editor.refresh();
  });
}

/** Show the regions of the settings; those that are being edited stay. */
export function show(settings, status) {
  const cameras = (status?.cameras ?? []).map(({ name }) => name);
  const tables = settings.tables.filter(({ name }) => name.startsWith("regions."));
  const all = tables.map((table) => {
    const values = Object.fromEntries(table.keys.map((one) => [one.name, one.value]));
    return { name: table.name.slice("regions.".length), camera: values.camera || cameras[0], area: values.area, labels: values.labels };
  });
  const parent = document.getElementById("region-editors");
  for (const name of editors.keys()) if (!cameras.includes(name)) editors.delete(name);
  for (const camera of cameras) {
    if (!editors.has(camera)) editors.set(camera, new Editor(camera));
    const others = new Set(all.filter((region) => region.camera !== camera).map(({ name }) => name));
    editors.get(camera).set(all.filter((region) => region.camera === camera), others, settings.writable);
    editors.get(camera).refresh();
  }
  parent.replaceChildren(...cameras.map((camera) => editors.get(camera).element));
}
