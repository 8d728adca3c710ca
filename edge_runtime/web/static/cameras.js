// The cameras of the configuration: add, rename, remove, and choose one of those that the board has.
import { act, ask, element, queryOf, request, say } from "./api.js";
import { t } from "./i18n.js";

/** Return a list of the board's cameras, each with a picture on demand. */
export function choice(input) {
  const list = element("ul", "", { class: "plain-list" });
  const message = element("p", "", { role: "status" });
  const find = element("button", t("Find the cameras of the board"), { type: "button", class: "plain" });
  find.addEventListener("click", () => act(find.parentElement, message, async () => {
    const { cameras } = await request("/api/cameras/available");
    list.replaceChildren(...cameras.map((camera) => {
      const note = camera.fault ?? (camera.used_by === null ? "" : t("used by {name}", { name: camera.used_by }));
      const item = element("li", "", {}, element("span", `${camera.name} (${camera.source}) ${note}`));
      if (camera.fault === null && camera.used_by === null) {
        const show = element("button", t("Show a picture"), { type: "button", class: "plain" });
        show.addEventListener("click", () => {
          const picture = element("img", "", { class: "preview", alt: t("What {name} sees", { name: camera.name }) });
          picture.addEventListener("error", () => say(message, t("This camera delivers no picture."), true));
          picture.src = `/api/cameras/preview${queryOf({ source: camera.source, at: Date.now() })}`;
          show.replaceWith(picture);
        });
        const use = element("button", t("Use"), { type: "button", class: "plain" });
        use.addEventListener("click", () => { input.value = camera.source; input.dispatchEvent(new Event("input")); });
        item.append(show, use);
      }
      return item;
    }));
    return cameras.length ? "" : t("No camera is connected to the board.");
  }));
  return element("div", "", { class: "wide" }, find, list, message);
}

const addressOf = (name) => `/api/cameras/${encodeURIComponent(name)}`;
const nameInput = (id, value = "") => {
  const input = element("input", "", { id, maxlength: 32, autocomplete: "off" });
  input.value = value;
  return input;
};

/**
 * Return what renames and removes the camera `name`.
 * `run(area, action)` executes an action; `apply` is that of settings.js.
 */
export function controls(name, isAlone, run, apply) {
  const id = `camera-name-${name}`;
  const input = nameInput(id, name);
  const rename = element("button", t("Rename"), { type: "button", class: "plain", "aria-label": t("Rename the camera {name}", { name }) });
  const row = element("div", "", { class: "tools wide" }, element("label", t("Name"), { for: id }), input, rename);
  rename.addEventListener("click", () => run(row, () => apply("POST", `${addressOf(name)}/rename`, { to: input.value.trim() })));
  if (isAlone) return row;
  const remove = element("button", t("Remove"), { type: "button", class: "danger", "aria-label": t("Remove the camera {name}", { name }) });
  remove.addEventListener("click", async () => {
    if (!await ask(t("Remove the camera {name} with its regions from the configuration?", { name }), t("Remove"))) return;
    run(row, () => apply("DELETE", addressOf(name)));
  });
  row.append(remove);
  return row;
}

/** Return what adds a camera. */
export function adding(run, apply) {
  const name = nameInput("new-camera");
  const source = element("input", "", { id: "new-source", autocomplete: "off" });
  const add = element("button", t("Add the camera"), { type: "button" });
  const body = element("div", "", { class: "fields" },
    element("div", "", { class: "field" }, element("label", t("Name"), { for: "new-camera" }), name),
    element("div", "", { class: "field" }, element("label", t("Source"), { for: "new-source" }), source), choice(source), add);
  add.addEventListener("click", () => run(body, () => apply("POST", "/api/cameras", { name: name.value.trim(), source: source.value.trim() })));
  return element("details", "", { class: "card", id: "add-camera" }, element("summary", t("Add a camera")), body);
}
