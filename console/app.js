// The operator's page: asks the admin listener every two seconds and shows what changed.
import { Chart } from "./charts.js";
import { at, el, table } from "./dom.js";
import { growth, most, parse, quantile, sum, values } from "./metrics.js";
import { bytes, count, rate, share, time } from "./words.js";

/** @typedef {import("./metrics.js").Reading} Reading */

const EVERY_MS = 2000;
/** What a point of a chart, and what a row of the routes, looks back on. */
const [POINT_MS, ROW_MS] = [10_000, 60_000];
const TOKEN = "mini-sns.admin";
const REQUESTS = "http_requests_total";
const TOOK = "http_request_duration_seconds";
const DELAY = "timeline_update_delay_seconds";

let token = sessionStorage.getItem(TOKEN);
let paused = false;
/** @type {{at: number, reading: Reading}[]}  of the last minute, the newest last */
const readings = [];

class Refused extends Error {}

/** @param {string} path @param {any} [body]  sent by POST where there is one */
async function ask(path, body) {
  const response = await fetch(path, {
    method: body ? "POST" : "GET",
    headers: {
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(body ? { "content-type": "application/json" } : {}),
    },
    body: body && JSON.stringify(body),
  });
  if (response.status === 401) throw new Refused("It is not the admin token.");
  if (!response.ok && response.status !== 503) {
    const problem = await response.json().catch(() => ({}));
    throw new Error(problem.detail ?? `${path}: ${response.status}`);
  }
  return response;
}

/** @param {string} path @param {any} [body] */
const json = async (path, body) => (await ask(path, body)).json();

const charts = {
  requests: new Chart(at("charts"), "Requests", [["2xx", "--good"], ["4xx", "--slow"], ["5xx", "--bad"]], rate, 1),
  latency: new Chart(at("charts"), "Time to answer", [["p50", "--good"], ["p95", "--slow"], ["p99", "--bad"]], time, 0.01),
  delay: new Chart(at("charts"), "From a post to its frames", [["p50", "--good"], ["p99", "--bad"]], time, 0.01),
  sockets: new Chart(at("charts"), "Open sockets", [["now", "--accent"]], count, 4),
};

/** The reading of so long ago, or the oldest. @param {number} millis */
function back(millis) {
  const { at: now } = readings[readings.length - 1];
  return readings.find(({ at }) => at >= now - millis) ?? readings[0];
}

/** @param {Reading} then @param {Reading} now @param {number} secs */
function showCharts(then, now, secs) {
  const at = Date.now() / 1000;
  const per = (/** @type {string} */ status) => growth(then, now, REQUESTS, { status }) / secs;
  charts.requests.add(at, ["2xx", "4xx", "5xx"].map(per));
  charts.latency.add(at, [0.5, 0.95, 0.99].map((q) => quantile(then, now, TOOK, q)));
  charts.delay.add(at, [0.5, 0.99].map((q) => quantile(then, now, DELAY, q)));
  charts.sockets.add(at, [sum(now, "websocket_connections")]);
}

/** @param {Reading} then @param {Reading} now @param {number} secs */
function showRoutes(then, now, secs) {
  const rows = values(now, REQUESTS, "route").map((route) => {
    const all = growth(then, now, REQUESTS, { route });
    const failed = growth(then, now, REQUESTS, { route, status: "5xx" });
    return { route, all, failed, total: sum(now, REQUESTS, { route }) ?? 0 };
  });
  rows.sort((a, b) => b.all - a.all || b.total - a.total);
  const heads = ["Route", "Rate", "p50", "p95", "p99", "5xx", "Since the start"];
  const cells = rows.map(({ route, all, failed, total }) => [
    route, rate(all / secs),
    ...[0.5, 0.95, 0.99].map((q) => time(quantile(then, now, TOOK, q, { route }))),
    rate(failed / secs), count(total),
  ]);
  table(at("route-table"), "Requests by route", heads, cells, "Nothing was asked yet.");
}

/** @param {{queues: any[], outbox: number}} stats */
function showQueues({ queues, outbox }) {
  const rows = queues.map(({ queue, waiting, inFlight, oldestAge, dead }) => [
    queue, count(waiting), count(inFlight), time(oldestAge.secs + oldestAge.nanos / 1e9), count(dead),
  ]);
  rows.push(["events not yet on the bus", count(outbox), "", "", ""]);
  const heads = ["Queue", "Waiting", "In hand", "Oldest", "Dead letters"];
  table(at("queue-table"), "Queues", heads, rows, "There is no queue.");
}

/** @param {any[]} letters */
function showDead(letters) {
  const rows = letters.map(({ id, reason, traceparent, message, diedAt, queuedAt }) => [
    id,
    message?.event?.type ?? message?.type ?? "unreadable",
    reason,
    el("code", {}, traceparent?.split("-")[1] ?? ""),
    new Date(diedAt ?? queuedAt).toLocaleString(),
    redriveButton(id),
  ]);
  const heads = ["Letter", "Event", "Reason", "Trace", "Died", "Act"];
  table(at("dead-table"), "Dead letters", heads, rows, "None: every event was handled.");
}

/** @param {string} id */
function redriveButton(id) {
  const button = el("button", { type: "button", "aria-label": `Redrive ${id}` }, "Redrive");
  button.addEventListener("click", async () => {
    /** @type {HTMLButtonElement} */ (button).disabled = true;
    try {
      const { count: done } = await json("/dlq/redrive", { id });
      at("dead-note").textContent = done ? `${id} is in its queue again.` : `${id} was gone already.`;
    } catch (error) {
      at("dead-note").textContent = `${id}: ${/** @type {Error} */ (error).message}`;
    }
    await look();
  });
  return button;
}

/** @param {any[]} lines */
function showErrors(lines) {
  const known = new Set(["time", "level", "message", "request_id", "trace_id"]);
  const rows = lines.map((line) => {
    const rest = Object.entries(line).filter(([name, value]) => !known.has(name) && value);
    const said = rest.map(([name, value]) => `${name}: ${value}`).join(" · ");
    return [
      new Date(line.time).toLocaleTimeString(), line.level, `${line.message} · ${said}`,
      el("code", {}, line.request_id ?? ""), el("code", {}, line.trace_id ?? ""),
    ];
  });
  const heads = ["When", "Level", "What", "Request", "Trace"];
  table(at("error-table"), "Recent errors", heads, rows, "None since the start.");
}

/** @param {Reading} then @param {Reading} now @param {{queues: any[]}} stats */
function showFacts(then, now, stats) {
  const dead = stats.queues.reduce((total, { dead }) => total + dead, 0);
  const hits = growth(then, now, "cache_requests_total", { outcome: "hit" });
  const asked = growth(then, now, "cache_requests_total");
  const open = sum(now, "reports_open") ?? 0;
  const backup = sum(now, "backup_last_success_timestamp_seconds");
  /** @type {[string, string, boolean?][]} */
  const facts = [
    ["Open sockets", count(sum(now, "websocket_connections"))],
    ["Dead letters", count(dead), dead > 0],
    ["Cache hits", share(asked > 0 ? hits / asked : undefined)],
    ["Memory", bytes(sum(now, "process_resident_memory_bytes"))],
    ["Disk left", bytes(most(now, "table_spare_disk_bytes"))],
    ["Open reports", count(open)],
    ["Oldest report", open > 0 ? time(sum(now, "reports_oldest_age_seconds")) : "none"],
    ["Last backup", backup ? `${time(Date.now() / 1000 - backup)} ago` : "none"],
    ["Refused as too busy", count(sum(now, "http_requests_shed_total"))],
  ];
  const boxes = facts.map(([name, said, bad]) =>
    el("div", {}, el("dt", {}, name), el("dd", { className: bad ? "bad" : "" }, said)));
  at("facts").replaceChildren(...boxes);
}

async function look() {
  const started = Date.now();
  const [text, stats, letters, recent, ready] = await Promise.all([
    ask("/metrics").then((answer) => answer.text()),
    json("/queues"), json("/dlq?limit=50"), json("/errors"), ask("/ready"),
  ]);
  const now = parse(text);
  readings.push({ at: started, reading: now });
  if (readings[0].at < started - ROW_MS) readings.shift();
  const [point, row] = [back(POINT_MS), back(ROW_MS)];
  const since = (/** @type {number} */ at) => Math.max((started - at) / 1000, 0.001);
  const health = ready.ok ? "ready" : "not ready: see /ready";
  at("state").textContent = `${health} · as of ${new Date(started).toLocaleTimeString()}`;
  at("main").hidden = false;
  at("sign-in").hidden = true;
  showFacts(row.reading, now, stats);
  if (readings.length > 1) showCharts(point.reading, now, since(point.at));
  showRoutes(row.reading, now, since(row.at));
  showQueues(stats);
  showDead(letters.items);
  showErrors(recent.items);
}

/** @param {string} [why] */
function askForToken(why = "") {
  at("main").hidden = true;
  at("sign-in").hidden = false;
  at("state").textContent = "The admin token is needed";
  at("refused").textContent = token ? why : "";
  token = null;
  sessionStorage.removeItem(TOKEN);
  at("token").focus();
}

async function watch() {
  for (;;) {
    if (!paused && !document.hidden && at("sign-in").hidden) {
      try {
        await look();
      } catch (error) {
        const { message } = /** @type {Error} */ (error);
        if (error instanceof Refused) askForToken(message);
        else at("state").textContent = `No answer: ${message}`;
      }
    }
    await new Promise((done) => setTimeout(done, EVERY_MS));
  }
}

at("sign-in").addEventListener("submit", async (/** @type {Event} */ event) => {
  event.preventDefault();
  token = at("token").value;
  try {
    await look();
    sessionStorage.setItem(TOKEN, token ?? "");
    at("token").value = "";
    at("now").scrollIntoView();
  } catch (error) {
    askForToken(/** @type {Error} */ (error).message);
  }
});

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  at("pause").textContent = paused ? "Go on" : "Pause";
});

void watch();
