// What a photo or a clip shows: the board recognizes a file.
import { $, request, say, setText } from "./api.js";
import { percent, plural, t } from "./i18n.js";

/** Show the answer to a query in the elements PREFIX-sight, PREFIX-name and PREFIX-detail. */
export function showAnswer(prefix, answer) {
  $(`${prefix}-sight`).classList.toggle("known", answer.label !== null);
  setText($(`${prefix}-name`), answer.label ?? t("unknown"));
  const nearest = answer.matches[0]?.label;
  setText($(`${prefix}-detail`), answer.label !== null ? t("{share} sure", { share: percent(answer.confidence) })
    : nearest ? t("This is not enrolled. Nearest: {label}", { label: nearest }) : t("Nothing is enrolled yet."));
}

/** Return how many frames the answer took; "" for that of a photo. */
function framesText({ frames, sure }) {
  if (frames === undefined) return "";
  return sure ? plural(frames, "It took {n} frame of the clip.", "It took {n} frames of the clip.")
    : plural(frames, "It looked at {n} frame of the clip.", "It looked at {n} frames of the clip.");
}

async function ask(file) {
  const input = $("query-file");
  input.disabled = true;
  say($("query-message"), t("The board looks at {name}.", { name: file.name }));
  $("query-sight").hidden = true;
  try {
    const headers = { "Content-Type": file.type || "image/jpeg" };
    const answer = await request("/api/query", { method: "POST", headers, body: file });
    showAnswer("query", answer);
    setText($("query-frames"), framesText(answer));
    $("query-sight").hidden = false;
    say($("query-message"), "");
  } catch (error) {
    say($("query-message"), error.message, true);
  }
  input.disabled = false;
}

export function start() {
  $("query-file").addEventListener("change", () => {
    const [file] = $("query-file").files;
    if (file) ask(file);
    $("query-file").value = "";
  });
}
