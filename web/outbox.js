// Posts of one's own on their way to the server: shown at once, sent once, kept over a reload.
import { posts } from "./api.js";
import { pause } from "./cursor.js";
import { settleEarly, showFirst } from "./home.js";
import { t } from "./i18n/index.js";
import { showInLists } from "./lists.js";
import { match } from "./routes.js";
import { keepPost, me, myId, notice, online, outbox, place } from "./state.js";
import * as store from "./store.js";
import { TEXT_MAX, length } from "./text.js";
import { asProblem } from "./wire.js";

/** @import {Outgoing} from "./types.d.ts" */

/** The server remembers a key for a day: later than that the same words might be posted twice. */
const REMEMBERED_MS = 23 * 3_600_000;

/** Where each post is kept: by itself, so that tabs do not write over each other's. */
const kept = (/** @type {string} */ id = "") => `mini-sns.outbox.${myId.peek()}.${id}`;

/** What other tabs have sent or discarded is no longer shown here. */
export function start() {
  addEventListener("storage", ({ key, newValue }) => {
    if (!key?.startsWith(kept()) || newValue !== null) return;
    const left = outbox.peek().filter((post) => kept(post.key) !== key || post.state === "sending");
    if (left.length < outbox.peek().length) outbox.value = left;
  });
}

/** Takes up what was not sent before the page was left. */
export function openOutbox() {
  /** @type {Outgoing[]} */
  const left = [];
  for (const key of store.keysWith(kept())) {
    const post = store.readJson(key);
    if (post) left.push(post);
    else store.write(key, null);
  }
  left.sort((one, other) => (one.createdAt < other.createdAt ? 1 : -1));
  outbox.value = left.map((post) => ({ ...post, state: "failed", code: "offline" }));
}

/** @param {string} text */
export const isFit = (text) => {
  const count = length(text);
  return count > 0 && count <= TEXT_MAX;
};

/** Writes a post. It is shown at once; the key makes every further attempt the same post. */
export function write(/** @type {string} */ text) {
  if (!isFit(text) || !me.peek()) return;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const id = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  /** @type {Outgoing} */
  const post = { key: id, text: text.trim(), createdAt: new Date().toISOString(), state: "sending" };
  store.write(kept(id), JSON.stringify(post));
  outbox.value = [post, ...outbox.peek()];
  void send(id);
}

/** Tries again, by the same key. @param {string} id */
export function retry(id) {
  change(id, { state: "sending" });
  void send(id);
}

/** What only failed for want of a connection is sent now. */
export function retryOutbox() {
  const since = Date.now() - REMEMBERED_MS;
  const unsent = outbox.peek().filter(
    ({ state, code, createdAt }) =>
      state === "failed" && code === "offline" && Date.parse(createdAt) > since,
  );
  unsent.forEach((post) => retry(post.key));
}

/** @param {string} id */
export function discard(id) {
  store.write(kept(id), null);
  outbox.value = outbox.peek().filter((post) => post.key !== id);
}

/** @param {string} id @param {Partial<Outgoing>} to */
function change(id, to) {
  outbox.value = outbox.peek().map((post) => (post.key === id ? { ...post, ...to } : post));
}

/** What may be over in a moment. The key lets the same post be sent again. */
const PASSING = new Set(["offline", "unavailable", "overloaded", "deadline_exceeded"]);
const ATTEMPTS = 3;

/** @param {string} text @param {string} id */
async function insist(text, id) {
  const who = myId.peek();
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await posts.write(text, id);
    } catch (error) {
      const passing = PASSING.has(asProblem(error).code) && online.peek();
      if (!passing || attempt + 1 === ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause(attempt, Math.random())));
      // Somebody else is here now.
      if (who !== myId.peek()) throw error;
    }
  }
}

/** @param {string} id */
async function send(id) {
  const who = myId.peek();
  const post = outbox.peek().find((post) => post.key === id);
  if (!post) return;
  try {
    const written = await insist(post.text, id);
    if (who !== myId.peek()) return;
    keepPost(written, 0, false);
    discard(id);
    showFirst(written.postId);
    showInLists(written.postId, written.authorId);
    tell({ text: t("outbox.posted") });
  } catch (error) {
    if (who !== myId.peek()) return;
    change(id, { state: "failed", code: asProblem(error).code });
    tell({ text: t("outbox.waits"), failed: true });
  }
  settleEarly();
}

/** On home the post itself tells. @param {{text: string, failed?: boolean}} word */
function tell(word) {
  if (match(place.peek().path).name !== "home") notice.value = word;
}
