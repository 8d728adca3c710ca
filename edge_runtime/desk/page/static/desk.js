// The page of a desk. Text from boards is only set as textContent, never as HTML.
const $ = (id) => document.getElementById(id);
const EVERY_MS = 3000;

function element(name, text = "", attributes = {}, ...children) {
  const created = document.createElement(name);
  created.textContent = text;
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  created.append(...children);
  return created;
}

function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

async function request(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw Object.assign(new Error("The desk does not answer."), { status: 0 });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const text = [answer.error, answer.remedy].filter(Boolean).join(": ") || response.statusText;
    throw Object.assign(new Error(text), { status: response.status });
  }
  return answer;
}

function age(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

async function act(area, message, action) {
  const buttons = [...area.querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  message.classList.remove("error");
  try {
    message.textContent = await action();
  } catch (error) {
    message.classList.add("error");
    message.textContent = error.message;
  }
  for (const button of buttons) button.disabled = false;
  await update();
}

function decide(row, proposal, kind) {
  return act(row, $("proposals-message"), async () => {
    const label = row.querySelector("input").value.trim();
    const body = { digests: [proposal.digest] };
    if (kind === "accept" && label && label !== proposal.label) body.label = label;
    await request(`/api/proposals/${kind}`, body);
    return kind === "accept" ? `${body.label ?? proposal.label} was accepted.` : `${proposal.label} was rejected.`;
  });
}

// Rows are kept while their proposal waits, so that a label that is being typed stays.
const rows = new Map();

function proposalRow(proposal, now) {
  const row = element("tr");
  const label = element("input", "", { "aria-label": `Label of ${proposal.label}`, maxlength: "128" });
  label.value = proposal.label;
  const accept = element("button", "Accept", { type: "button", "aria-label": `Accept ${proposal.label} of ${proposal.board}` });
  const reject = element("button", "Reject", { type: "button", class: "plain", "aria-label": `Reject ${proposal.label} of ${proposal.board}` });
  accept.addEventListener("click", () => decide(row, proposal, "accept"));
  reject.addEventListener("click", () => decide(row, proposal, "reject"));
  row.append(
    element("td", "", {}, label), element("td", proposal.board),
    element("td", `${age(now - proposal.received_at)} ago`),
    element("td", "", { class: "owner" }, element("div", "", { class: "actions" }, accept, reject)),
  );
  return row;
}

function showProposals(state) {
  const body = $("proposals").tBodies[0];
  const wanted = new Set(state.proposals.map((each) => each.digest));
  for (const [digest, row] of rows) {
    if (!wanted.has(digest)) { row.remove(); rows.delete(digest); }
  }
  for (const proposal of state.proposals) {
    if (rows.has(proposal.digest)) continue;
    const row = proposalRow(proposal, state.time);
    rows.set(proposal.digest, row);
    body.append(row);
  }
  const more = state.counts.pending - state.proposals.length;
  setText("proposals-text", state.counts.pending === 0 ? "Nothing waits for a decision."
    : `${plural(state.counts.pending, "picture")} to decide on${more > 0 ? `, the oldest ${state.proposals.length} are shown` : ""}.`
      + (state.refused ? ` ${plural(state.refused, "message")} refused.` : ""));
}

function boardRow(board, now) {
  const kind = board.error ? "failing" : board.behind ? "behind" : "";
  const what = board.error || (board.ready === false ? "not ready" : board.behind ? "behind" : "up to date");
  return element("tr", "", kind ? { class: kind } : {},
    element("th", board.name, { scope: "row" }), element("td", `${board.version}`, { class: "number" }),
    element("td", `${board.behind}`, { class: "number" }), element("td", board.since),
    element("td", `${age(now - board.last_seen)} ago`), element("td", board.release || board.model_id.slice(0, 12)),
    element("td", `${board.pending}`, { class: "number" }), element("td", `${board.complaints}`, { class: "number" }),
    element("td", what, { class: "state" }));
}

function showRollout(rollout) {
  $("rollout").hidden = !rollout;
  if (!rollout) return;
  setText("rollout-text", `${rollout.id} for ${rollout.cpu}: ${rollout.state}, ${rollout.percent}% of the boards`);
  $("rollout-progress").value = rollout.percent;
  $("waves").replaceChildren(...(rollout.waves ?? []).map((wave) =>
    element("li", `${wave}%`, wave === rollout.percent ? { "aria-current": "step" } : {})));
}

function showAlerts(state) {
  const found = Object.entries(state.faults).map(([step, text]) => [step, text]);
  if (state.broker?.fault) found.push(["broker", state.broker.fault]);
  if (state.root_expires - state.time < 30 * 86400) {
    found.push(["root", `The root expires in ${age(state.root_expires - state.time)}: edge-runtime desk rotate`]);
  }
  const text = JSON.stringify(found);
  if ($("alerts").dataset.shown === text) return;
  $("alerts").dataset.shown = text;
  $("alerts").replaceChildren(...found.map(([step, what]) =>
    element("div", "", { class: "alert bad" }, element("strong", step), element("p", what))));
}

function show(state) {
  setText("fleet", `Fleet ${state.fleet}`);
  setText("version", `${state.version}`);
  const last = state.versions[0];
  setText("version-text", last ? `${plural(last.pictures, "picture")} of ${plural(last.labels, "label")}, published ${age(state.time - last.published_at)} ago` : "");
  const behind = state.boards.filter((board) => board.behind || board.error).length;
  setText("boards-text", state.boards.length === 0 ? "No board has reported yet."
    : `${plural(state.boards.length, "board")}, ${behind} behind or failing`);
  setText("state", state.boards.length - behind === state.boards.length ? "all boards agree" : `${behind} behind`);
  $("boards").tBodies[0].replaceChildren(...state.boards.map((board) => boardRow(board, state.time)));
  $("versions").replaceChildren(...state.versions.map((version) => element("li",
    `${version.number}: ${plural(version.pictures, "picture")}, ${plural(version.operations, "operation")}, ${version.bytes} bytes${version.note ? ` (${version.note})` : ""}`)));
  showProposals(state);
  showRollout(state.rollout);
  showAlerts(state);
}

async function update() {
  try {
    const state = await request("/api/fleet");
    $("login").hidden = true;
    $("content").hidden = false;
    show(state);
  } catch (error) {
    if (error.status === 401) {
      $("login").hidden = false;
      $("content").hidden = true;
      setText("state", "token required");
    } else {
      setText("state", error.message);
    }
  }
}

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await request("/api/session", { token: $("token").value });
    setText("login-error", "");
    $("token").value = "";
  } catch (error) {
    setText("login-error", error.message);
  }
  await update();
});
$("publish").addEventListener("click", () => act($("publish").parentElement, $("publish-message"), async () => {
  const { version } = await request("/api/publish", {});
  return version === null ? "Nothing has changed." : `Version ${version} is published.`;
}));

await update();
setInterval(update, EVERY_MS);
