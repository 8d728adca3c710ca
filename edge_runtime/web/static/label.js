// One label, in a dialog: its pictures, its name, its payload, and the advice on it.
import { $, act, ask, element, pathOf, request, say, send } from "./api.js";
import { language, plural, t } from "./i18n.js";

const AT_ONCE = 60; // pictures that are shown before "Show more"

/** Return the dialog. `gallery` has names(), notes(label), changed(), offerUndo(...), remove(...) and removeLabels(names). */
export function label(gallery) {
  const box = $("label-dialog");
  const message = $("label-message");
  let name = "";
  let pictures = [];
  let shown = AT_ONCE;

  function picture({ id, source, time, kept }) {
    const when = new Date(time).toLocaleString(language);
    const about = element("span", `${source.split("/").pop() || t("no file")}, ${when}`, { class: "quiet" });
    const image = kept
      ? element("img", "", { src: `/api/pictures/${id}`, alt: t("Enrolled photo of {label}", { label: name }), loading: "lazy" })
      : element("span", t("not kept"), { class: "no-picture quiet" });
    const button = element("button", t("Remove"), {
      type: "button", class: "danger", "aria-label": t("Remove the photo {name}", { name: `${source}, ${when}` }) });
    button.addEventListener("click", () => removePicture(id));
    return element("li", "", {}, image, about, button);
  }

  async function removePicture(id) {
    const text = t("The photo was removed.");
    if (pictures.length === 1) {
      close(); // the label disappears with its last picture
      await gallery.remove({ pictures: [id] }, text);
      return;
    }
    const undone = () => load().catch((error) => say(message, error.message, true));
    if (!await gallery.remove({ pictures: [id] }, text, { area: box, target: message, undone })) return;
    pictures = pictures.filter((each) => each.id !== id);
    showPictures();
    $("label-pictures").querySelector("button").focus();
  }

  function showPictures() {
    $("label-pictures").replaceChildren(...pictures.slice(0, shown).map(picture));
    $("label-more").hidden = pictures.length <= shown;
    $("label-count").textContent = plural(pictures.length, "{n} photo", "{n} photos");
  }

  function show(label) {
    name = $("label-title").textContent = $("label-name").value = label;
  }

  async function load() {
    ({ pictures } = await request(`${pathOf(name)}/pictures`));
    showPictures();
    $("label-payload").value = (await request(`${pathOf(name)}/payload`)).payload;
  }

  async function rename(event) {
    event.preventDefault();
    const to = $("label-name").value.trim().normalize("NFC");
    if (to === name) return;
    const merge = gallery.names().includes(to);
    if (merge && !await ask(t("{to} exists already. Merge {label} into it?", { to, label: name }), t("Merge"))) return;
    const before = name;
    let undo = null;
    await act(box, message, async () => {
      const done = await send("POST", `${pathOf(name)}/rename`, { to, merge });
      ({ undo } = done);
      show(done.label);
      gallery.changed();
      await load();
      return merge ? t("The labels were merged.") : t("The label was renamed.");
    });
    if (!undo) return;
    const undone = () => {
      show(before);
      load().catch((error) => say(message, error.message, true));
    };
    gallery.offerUndo(undo, message, undone, merge ? t("The labels are apart again.") : t("The label has its former name."));
  }

  async function storePayload(event) {
    event.preventDefault();
    await act(box, message, async () => {
      await send("PUT", `${pathOf(name)}/payload`, { payload: $("label-payload").value });
      return t("The data was stored.");
    });
  }

  const close = () => box.close();

  $("rename-form").addEventListener("submit", rename);
  $("payload-form").addEventListener("submit", storePayload);
  $("label-close").addEventListener("click", close);
  $("label-more").addEventListener("click", () => { shown += AT_ONCE; showPictures(); });
  $("label-remove").addEventListener("click", async () => {
    if (!await ask(t("Remove {label} with all its photos?", { label: name }), t("Remove"))) return;
    close();
    await gallery.removeLabels([name]);
  });

  return {
    open(chosen) {
      show(chosen);
      pictures = [];
      shown = AT_ONCE;
      say(message, "");
      $("label-payload").value = "";
      $("label-notes").replaceChildren(...gallery.notes(name).map((text) => element("li", text)));
      showPictures();
      box.showModal();
      load().catch((error) => say(message, error.message, true));
    },
  };
}
