// The history: what was seen when, and what was wrong about it.
import { $, act, element, queryOf, request, say, send } from "./api.js";
import { clock, language, percent, plural, t } from "./i18n.js";

const FILTERS = ["day", "label", "kind", "camera"];
const MOST_PARTS = 5; // of a day's events that the timeline shows, 200 each
const NOTHING = ""; // the choice "It is nothing I know"

let context;
let days = [];
let last = ""; // id of the oldest event that is listed
let asked = 0; // the newest request for a list

const chosen = () => Object.fromEntries(FILTERS.map((name) => [name, $(`history-${name}`).value]));
const dayText = (day) => new Date(`${day}T12:00`).toLocaleDateString(language, { weekday: "short", day: "numeric", month: "short" });
const place = ({ camera, region }) => (region ? `${camera}/${region}` : camera);

/** Replace the options of a select, and keep its value if it is still there. */
function fill(select, all, options) {
  const { value } = select;
  select.replaceChildren(element("option", all, { value: "" }), ...options.map(([key, text]) => element("option", text, { value: key })));
  select.value = options.some(([key]) => key === value) ? value : "";
}

// -- the list -------------------------------------------------------------------------------------

function item(event) {
  const { id, kind, label, time, snapshot, wrong } = event;
  const when = `${new Date(time).toLocaleDateString(language)}, ${clock(time)}`;
  const text = t(kind === "enter" ? "entered: {label}" : "left: {label}", { label });
  const li = element("li", "", { "data-event": id });
  if (snapshot && context.role === "owner") {
    const address = `/api/history/${id}/snapshot`;
    li.append(element("a", "", { href: address, target: "_blank" },
      element("img", "", { src: address, alt: t("{event}, {time}: enlarge the picture", { event: text, time: when }), loading: "lazy" })));
  }
  const detail = kind === "enter" ? `${percent(event.confidence)}, ${place(event)}` : [place(event), event.reason].filter(Boolean).join(", ");
  li.append(element("p", "", {}, element("strong", text), element("br"), element("time", when, { datetime: time }), element("br"), element("span", detail, { class: "quiet" })));
  if (wrong) {
    const right = wrong.label === null ? t("Wrong: it is nothing known.") : t("Wrong: it is {label}.", { label: wrong.label });
    li.append(element("p", right, { class: "error" }));
  }
  if (kind === "enter" && context.role === "owner") {
    const button = element("button", wrong ? t("Take back") : t("Wrong?"), {
      type: "button", "aria-label": wrong ? t("Take back that {event}, {time} is wrong", { event: text, time: when }) : t("{event}, {time}: this is wrong", { event: text, time: when }) });
    button.addEventListener("click", () => (wrong ? takeBack(event) : correct(event)));
    li.append(button);
  }
  return li;
}

/** Show the newest events of the filter, or `older` ones below those that are shown. */
async function list(older = false) {
  const mine = ++asked;
  const answer = await request(`/api/history${queryOf({ ...chosen(), limit: 48, before: older ? last : "" })}`);
  if (mine !== asked) return;
  say($("history-fault"), answer.fault ? t("Nothing can be stored: {fault}", { fault: answer.fault }) : "", true);
  const items = answer.events.map(item);
  if (older) $("history-list").append(...items);
  else $("history-list").replaceChildren(...items);
  if (older) items[0]?.querySelector("a, button")?.focus();
  last = answer.events.at(-1)?.id ?? last;
  $("history-more").hidden = !answer.more;
  $("history-new").hidden = true;
  $("no-history").hidden = older || items.length > 0;
}

// -- the timeline ---------------------------------------------------------------------------------

/** Return the part of the day, 0 to 1, of an event: by the clock of the board. */
function partOfDay(time) {
  const [hours, minutes, seconds] = time.slice(11, 23).split(":").map(Number);
  return (hours * 3600 + minutes * 60 + seconds) / 86400;
}

/** Return the spans of a day by label: each from "enter" to "leave", or to the end of what is known. */
function spansOf(events, end) {
  const spans = new Map();
  const open = new Map();
  const add = (label, from, to) => spans.set(label, [...(spans.get(label) ?? []), [from, to]]);
  for (const { kind, label, time, camera, region } of events) {
    const source = JSON.stringify([label, camera, region]);
    const at = partOfDay(time);
    if (kind === "enter") open.set(source, [label, at]);
    else add(label, open.get(source)?.[1] ?? 0, at);
    if (kind === "leave") open.delete(source);
  }
  for (const [label, from] of open.values()) add(label, from, Math.max(from, end));
  return spans;
}

async function timeline() {
  const { day, ...wanted } = chosen();
  const shown = day || days[0]?.day;
  $("timeline").hidden = !shown;
  if (!shown) return;
  const events = [];
  let more = true;
  for (let part = 0; more && part < MOST_PARTS; part += 1) {
    const answer = await request(`/api/history${queryOf({ ...wanted, kind: "", day: shown, limit: 200, before: events.at(-1)?.id })}`);
    events.push(...answer.events);
    more = answer.more;
  }
  const newest = events[0] ? partOfDay(events[0].time) : 0;
  const rows = [...spansOf(events.reverse(), newest)].sort(([one], [other]) => one.localeCompare(other, language));
  const counts = days.find((each) => each.day === shown)?.labels ?? {};
  $("timeline-title").textContent = t("{day}: what was seen when", { day: dayText(shown) });
  $("timeline-rows").replaceChildren(...rows.map(([label, spans]) => {
    const track = element("span", "", { class: "track", "aria-hidden": "true" }, ...spans.map(([from, to]) => {
      const span = element("span");
      span.style.left = `${from * 100}%`;
      span.style.width = `${(to - from) * 100}%`;
      return span;
    }));
    const button = element("button", label, { type: "button", class: "plain" });
    button.addEventListener("click", () => {
      $("history-label").value = label;
      show();
    });
    return element("li", "", {}, button, element("span", plural(counts[label] ?? 0, "once", "{n} times"), { class: "quiet" }), track);
  }));
}

// -- corrections ----------------------------------------------------------------------------------

async function correct({ id, label }) {
  const { labels } = await request("/api/labels");
  const names = labels.map((each) => each.label).filter((name) => name !== label && name !== "unknown");
  fill($("right-label"), t("It is nothing I know"), names.map((name) => [name, name]));
  $("right-label").value = NOTHING;
  $("right-new").value = "";
  $("wrong-text").textContent = t("It was named {label}. What is it?", { label });
  const dialog = $("wrong-dialog");
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  if (dialog.returnValue !== "yes") return;
  const right = $("right-new").value.trim() || $("right-label").value || null;
  await change(id, async () => {
    const { answer } = await send("POST", `/api/history/${id}/wrong`, { label: right });
    if (!answer) return t("It is marked. Without a snapshot there is nothing to learn from.");
    if (answer.label === right) return right === null ? t("This picture is not named again.") : t("This picture is {label} from now on.", { label: right });
    return answer.label === null ? t("It is marked and learned, but the picture is still unknown.") : t("It is marked and learned, but the picture is still named {label}.", { label: answer.label });
  });
}

const takeBack = ({ id }) => change(id, async () => {
  await request(`/api/history/${id}/wrong`, { method: "DELETE" });
  return t("It was taken back.");
});

async function change(id, action) {
  await act($("history-list"), $("history-message"), action);
  context.tell("gallery");
  await list();
  ($("history-list").querySelector(`[data-event="${id}"] button`) ?? $("main")).focus();
}

// -- the view -------------------------------------------------------------------------------------

async function show() {
  for (const kind of ["csv", "json"]) $(`history-${kind}`).href = `/api/history.${kind}${queryOf(chosen())}`;
  try {
    await list();
    await timeline();
  } catch (error) {
    say($("history-message"), error.message, true);
  }
}

async function load() {
  days = await request("/api/history/days");
  const names = [...new Set(days.flatMap(({ labels }) => Object.keys(labels)))].sort((one, other) => one.localeCompare(other, language));
  fill($("history-day"), t("All days"), days.map(({ day, labels }) => [day, `${dayText(day)} (${Object.values(labels).reduce((sum, count) => sum + count, 0)})`]));
  fill($("history-label"), t("All labels"), names.map((name) => [name, name]));
  const cameras = (context.status?.cameras ?? []).map(({ name }) => [name, name]);
  fill($("history-camera"), t("All cameras"), cameras);
  $("history-camera").closest("label").hidden = cameras.length < 2;
  await show();
}

export function start(given) {
  context = given;
  context.on("session", () => { if (context.view === "history") load().catch(() => {}); });
  context.on("show", (name) => {
    if (name === "history") load().catch((error) => say($("history-message"), error.message, true));
  });
  context.on("event", () => { $("history-new").hidden = false; });
  for (const name of FILTERS) $(`history-${name}`).addEventListener("change", show);
  $("history-new").addEventListener("click", load);
  $("history-more").addEventListener("click", () => list(true).catch((error) => say($("history-message"), error.message, true)));
}
