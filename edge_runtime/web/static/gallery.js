// The gallery: what is enrolled.
import { $, act, ask, element, pathOf, request } from "./api.js";
import { plural, t } from "./i18n.js";

let context;

function card({ label, pictures }) {
  const picture = element("img", "", { src: `${pathOf(label)}/photo?v=${context.revision}`, alt: "", loading: "lazy" });
  picture.addEventListener("error", () => picture.remove());
  const button = element("button", t("Remove"), { type: "button", "aria-label": t("Remove {label}", { label }) });
  button.addEventListener("click", () => remove(label));
  const name = element("p", label);
  name.append(element("span", ` (${plural(pictures, "{n} photo", "{n} photos")})`, { class: "quiet" }));
  return element("li", "", {}, picture, name, button);
}

async function show() {
  if (context.role !== "owner") return;
  const { labels } = await request("/api/labels");
  $("labels").replaceChildren(...labels.map(card));
  $("no-labels").hidden = labels.length > 0;
}

async function remove(label) {
  if (!await ask(t("Remove {label} with all its photos?", { label }), t("Remove"))) return;
  await act($("view-gallery"), $("gallery-message"), async () => {
    await request(pathOf(label), { method: "DELETE" });
    context.revision += 1;
    context.tell("gallery");
    return t("{label} was removed.", { label });
  });
  $("main").focus();
}

export function start(given) {
  context = given;
  const refresh = () => show().catch(() => {});
  context.on("session", refresh);
  context.on("gallery", refresh);
}
