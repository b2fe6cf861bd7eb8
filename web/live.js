// The socket: opens it while somebody is signed in, resumes where it ended, and tells home.
import { effect } from "@preact/signals";
import * as cursor from "./cursor.js";
import { arrive, catchUp, home, readHome, remove } from "./home.js";
import { retryOutbox } from "./outbox.js";
import { accessToken } from "./session.js";
import { myId, online, session, socket } from "./state.js";
import { Problem } from "./wire.js";

const PONG_MS = 10_000;
const EXPIRED = 4401;
const SLOW_DOWN = 4429;

/** @type {WebSocket | null} */
let open = null;
/** @type {import("./cursor.js").Place} */
let place = cursor.START;
let attempt = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let next;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let heartbeat;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let deadline;

/** @param {import("./cursor.js").Step} step */
const step = (step) => (place = cursor.follow(place, step));

/** Keeps a socket open from now on, whenever somebody is signed in. */
export function start() {
  online.value = navigator.onLine;
  addEventListener("online", () => {
    online.value = true;
    // A socket may have outlived it; what could not be sent is sent now in any case.
    if (!open) return soon();
    ping();
    retryOutbox();
  });
  addEventListener("offline", () => (online.value = false));
  document.addEventListener("visibilitychange", () => {
    // A telephone that wakes has often lost its connections without noticing.
    if (document.visibilityState === "visible") open ? ping() : soon();
  });
  effect(() => {
    const who = myId.value;
    stop();
    if (who) void begin();
  });
}

function stop() {
  clearTimeout(next);
  clearTimeout(heartbeat);
  clearTimeout(deadline);
  const old = open;
  open = null;
  old?.close();
  place = cursor.START;
  attempt = 0;
  socket.value = "off";
}

/** The first page is read without waiting for the socket, which then resumes from it. */
async function begin() {
  socket.value = "connecting";
  const who = myId.peek();
  const read = await readHome();
  if (who !== myId.peek()) return;
  if (read) step({ type: "read", ...read });
  await connect();
}

/** Reads home again where that failed, and connects without waiting any longer. */
export function soon() {
  if (!session.peek() || open) return;
  clearTimeout(next);
  attempt = 0;
  void connect();
}

async function connect() {
  const who = myId.peek();
  let token;
  try {
    token = await accessToken();
  } catch (problem) {
    // Signed out, or not to be reached.
    if (problem instanceof Problem && problem.status !== 401) later();
    return;
  }
  if (open || who !== myId.peek()) return;
  const url = new URL("/ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("token", token);
  const mine = new WebSocket(url, "mini-sns.v1");
  open = mine;
  mine.onopen = () => mine === open && opened();
  mine.onmessage = (event) => mine === open && heard(event.data);
  mine.onclose = (event) => mine === open && closed(event.code);
}

function opened() {
  step({ type: "open" });
  if (place.kept) say({ type: "resume", cursor: place.kept });
  // Its answer comes after all that the resume brings; a gateway says hello only when spoken to.
  ping();
}

/** @param {unknown} frame */
const say = (frame) => open?.readyState === WebSocket.OPEN && open.send(JSON.stringify(frame));

function ping() {
  clearTimeout(deadline);
  deadline = setTimeout(() => closed(0), PONG_MS);
  say({ type: "ping" });
}

/** @param {string} text */
function heard(text) {
  const frame = JSON.parse(text);
  switch (frame.type) {
    case "hello":
      step({ type: "hello", cursor: frame.cursor });
      beat(frame.heartbeatSeconds);
      break;
    case "pong":
      clearTimeout(deadline);
      settled();
      break;
    case "timeline.entry":
      arrive(frame.data);
      step({ type: "entry", cursor: frame.cursor });
      break;
    case "timeline.removed":
      remove(frame.data.postId);
      break;
    case "resync":
      step({ type: "resync" });
      void fill();
      break;
    case "error":
      failed(frame.code);
      break;
  }
}

function settled() {
  step({ type: "settled" });
  attempt = 0;
  if (socket.peek() !== "live") {
    socket.value = "live";
    retryOutbox();
  }
  if (!place.kept || home.phase.peek() === "failed") void fill();
}

/** Reads a page where there is none to resume from: the hello's cursor is from before it. */
async function fill() {
  const mine = open;
  const read = await catchUp();
  // After a connection that ended meanwhile, the page may lack what the next one began with.
  if (read && mine === open) step({ type: "read", ...read });
}

/** @param {number} seconds */
function beat(seconds) {
  clearInterval(heartbeat);
  heartbeat = setInterval(ping, seconds * 1000);
}

/** @param {string} code */
function failed(code) {
  // A gateway cannot close with a code, and says it as its last word.
  if (/^4\d{3}$/.test(code)) return closed(Number(code));
  if (code === "invalid_cursor") {
    step({ type: "resync" });
    void fill();
  }
}

/** @param {number} code */
function closed(code) {
  clearTimeout(deadline);
  clearInterval(heartbeat);
  const old = open;
  open = null;
  old?.close();
  step({ type: "closed" });
  if (!session.peek()) return;
  if (code === EXPIRED && attempt === 0) {
    // The token's time was up: another one, and on it goes.
    attempt = 1;
    void accessToken(session.peek()?.accessToken).then(connect, later);
    return;
  }
  later(code === SLOW_DOWN ? 3 : 0);
}

/** @param {unknown} [from] */
function later(from) {
  if (typeof from === "number") attempt = Math.max(attempt, from);
  if (!session.peek()) return;
  socket.value = "waiting";
  clearTimeout(next);
  next = setTimeout(() => void connect(), cursor.pause(attempt, Math.random()));
  attempt += 1;
}
