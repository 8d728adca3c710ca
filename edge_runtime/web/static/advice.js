// Advice on the gallery: what to photograph next, and what is probably wrong.
import { $, act, element, request } from "./api.js";
import { key, percent, plural, t } from "./i18n.js";

const SHOWN = 5;

function line(text, ...photos) {
  const row = element("span", "", { class: "photos" });
  for (const { id, label } of photos) {
    const alt = t("Enrolled photo of {label}", { label });
    const kept = element("img", "", { src: `/api/pictures/${id}`, alt, loading: "lazy" });
    kept.addEventListener("error", () => kept.remove());
    row.append(kept);
  }
  return element("dd", text, {}, row);
}

const nameOf = ({ label, source }) => `${label} (${source.split("/").pop() || t("no file")})`;
const pair = (one) => line(t("{one} and {other}", { one: nameOf(one.picture), other: nameOf(one.other) }),
  one.picture, one.other);
const FAULTS = { dark: key("too dark"), uniform: key("shows nothing"), blurred: key("blurred") };

const findings = (advice) => [
  [t("Too few photos"), advice.few.map((one) => line(t("{label}: {n} more", { label: one.label, n: one.needed })))],
  [t("Wrong label"), advice.mislabeled.map((one) =>
    line(t("{photo} looks like {label}", { photo: nameOf(one.picture), label: one.other.label }), one.picture, one.other))],
  [t("Hard to tell apart"), advice.alike.map((one) =>
    line(t("{one} and {other}: {mistaken} of {checked} photos may be mistaken for the other",
      { one: one.label, other: one.other_label, mistaken: one.mistaken, checked: one.checked }), one.picture, one.other))],
  [t("Under two labels"), advice.duplicates.map(pair)],
  [t("Near duplicates"), advice.repeated.map(pair)],
  [t("Show too little"), advice.photos.faulty.map((one) =>
    line(`${nameOf(one.picture)}: ${t(FAULTS[one.fault])}`, one.picture))],
];

function show(advice) {
  $("actions").replaceChildren(...advice.actions.map((action) => element("li", action)));
  const { accuracy } = advice;
  $("accuracy").textContent = accuracy
    ? t("Expected for new photos like the enrolled ones: {right} right, {unknown} unknown, {wrong} wrong ({photos}, each without itself).", {
      right: percent(accuracy.right / accuracy.pictures),
      unknown: percent(accuracy.unknown / accuracy.pictures),
      wrong: percent(accuracy.wrong / accuracy.pictures),
      photos: plural(accuracy.pictures, "{n} photo", "{n} photos"),
    }) : advice.note;
  $("findings").replaceChildren(...findings(advice).flatMap(([title, lines]) => {
    if (!lines.length) return [];
    const more = lines.length > SHOWN
      ? [element("dd", t("and {n} more", { n: lines.length - SHOWN }), { class: "quiet" })] : [];
    return [element("dt", title), ...lines.slice(0, SHOWN), ...more];
  }));
}

export function start(context) {
  $("advise").addEventListener("click", () => {
    $("advice-message").textContent = t("Comparing the photos.");
    act($("advice"), $("advice-message"), async () => {
      const advice = await request("/api/advice");
      show(advice);
      context.tell("advice", advice); // for the cards of the labels
    });
  });
}
