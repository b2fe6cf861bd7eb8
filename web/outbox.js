// Posts of one's own on their way to the server: shown at once, sent once, kept over a reload.
import { posts } from "./api.js";
import { settleEarly, showFirst } from "./home.js";
import { t } from "./i18n/index.js";
import { showInLists } from "./lists.js";
import { match } from "./routes.js";
import { keepPost, me, myId, notice, outbox, place } from "./state.js";
import { TEXT_MAX, length } from "./text.js";

/** @import {Outgoing} from "./types.d.ts" */
import { asProblem } from "./wire.js";

const key = () => `mini-sns.outbox.${myId.peek()}`;

/** Takes up what was not sent before the page was left. */
export function openOutbox() {
  /** @type {Outgoing[]} */
  let left = [];
  try {
    left = JSON.parse(localStorage.getItem(key()) ?? "[]");
  } catch {
    // What cannot be read is lost already.
  }
  outbox.value = left.map((post) => ({ ...post, state: "failed", code: "offline" }));
}

/** @param {Outgoing[]} next */
function put(next) {
  outbox.value = next;
  if (next.length) localStorage.setItem(key(), JSON.stringify(next));
  else localStorage.removeItem(key());
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
  put([post, ...outbox.peek()]);
  void send(post.key);
}

/** Tries again, by the same key. @param {string} id */
export function retry(id) {
  change(id, { state: "sending" });
  void send(id);
}

/** What only failed for want of a connection is sent now. */
export function retryOutbox() {
  const unsent = outbox.peek().filter((post) => post.state === "failed" && post.code === "offline");
  unsent.forEach((post) => retry(post.key));
}

/** @param {string} id */
export const discard = (id) => put(outbox.peek().filter((post) => post.key !== id));

/** @param {string} id @param {Partial<Outgoing>} to */
const change = (id, to) =>
  put(outbox.peek().map((post) => (post.key === id ? { ...post, ...to } : post)));

/** @param {string} id */
async function send(id) {
  const who = myId.peek();
  const post = outbox.peek().find((post) => post.key === id);
  if (!post) return;
  try {
    const written = await posts.write(post.text, id);
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
