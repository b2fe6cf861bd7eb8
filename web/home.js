// The home timeline: what is shown, and what has arrived and waits to be shown.
import { signal } from "@preact/signals";
import { posts, users } from "./api.js";
import { List } from "./lists.js";
import { entry, forgetPost, gone, keepPerson, keepPost, myId, outbox, person } from "./state.js";

/** @import {Signal} from "@preact/signals" */
/** @import {Read} from "./lists.js" */
/** @import {Page, TimelineItem} from "./types.d.ts" */

/** Reads a page and keeps what is on it. @param {string | null} cursor @returns {Promise<Read>} */
async function readPage(cursor) {
  /** @type {Page<TimelineItem>} */
  const page = await posts.timeline(cursor);
  page.items.forEach((item) => keepItem(item, true));
  const ids = page.items.map((item) => item.post.postId);
  return { ids, next: page.nextCursor ?? null, prev: page.prevCursor ?? null };
}

export const home = new List(readPage);

/** Posts that have arrived and are not shown yet, newest first. @type {Signal<string[]>} */
export const waiting = signal([]);
/** A first page that is to replace what is shown, since what lies between is not known. */
let successor = /** @type {Read | null} */ (null);

/** Whether more may lie between the first post shown and those that wait, and how reading it goes.
 *  @type {Signal<"none" | "open" | "reading" | "failed">} */
export const gap = signal(/** @type {"none" | "open" | "reading" | "failed"} */ ("none"));
/** The cursor that leads up from what is shown. @type {string | null} */
let upward = null;

/** Own posts told by the socket while the answer to their writing is under way.
 *  @type {TimelineItem[]} */
let early = [];

/** @param {TimelineItem} item @param {boolean} asked  whether `liked` is this reader's own */
function keepItem({ post, author, likeCount, liked }, asked) {
  if (author) keepPerson(author);
  const known = entry(post.postId).peek();
  // A live frame is the same for everybody: what it says of likes counts for new posts only.
  if (asked) keepPost(post, likeCount, liked);
  else if (!known) keepPost(post, likeCount ?? null, liked ?? null);
}

/** @typedef {{cursor: string | null}} Start  where to resume from; an empty timeline has nowhere */

/** Reads the timeline from its start. @returns {Promise<Start | null>} nothing where it failed */
export async function readHome() {
  const page = await home.load();
  if (!page) return null;
  waiting.value = [];
  reachTop(page.prev);
  return { cursor: page.prev };
}

/** Nothing lies between what is shown and what waits. @param {string | null} cursor */
function reachTop(cursor) {
  upward = cursor;
  gap.value = "none";
  successor = null;
}

/**
 * Reads what lies right above, page by page until something new comes.
 * @param {(change: () => void) => void} inPlace  makes a change that moves nothing on the screen
 */
export async function readNewer(inPlace) {
  if (gap.peek() !== "open" && gap.peek() !== "failed") return;
  gap.value = "reading";
  try {
    for (;;) {
      const from = upward;
      const page = from === null ? null : await readPage(from);
      // Meanwhile the list may have begun anew.
      if (gap.peek() !== "reading" || from !== upward) return;
      const fresh = page?.ids.filter((id) => !home.ids.peek().includes(id)) ?? [];
      if (page) upward = page.prev;
      if (page && page.ids.length > 0 && fresh.length === 0) continue;
      inPlace(() => putAbove(fresh));
      return;
    }
  } catch {
    if (gap.peek() === "reading") gap.value = "failed";
  }
}

/** @param {string[]} ids  none where that was all */
function putAbove(ids) {
  // A post of one's own may stand at the top already.
  home.ids.value = newestFirst([...ids, ...home.ids.peek()]);
  waiting.value = waiting.peek().filter((id) => !ids.includes(id));
  // Nothing is above, or what is known to be the newest.
  const ends = ids.length === 0 || (successor && ids.includes(successor.ids[0]));
  gap.value = ends ? "none" : "open";
  const [top = ""] = home.ids.peek();
  // What waits further down, as after a follow, comes only with that page.
  if (gap.peek() === "none" && waiting.peek().every((id) => id > top)) successor = null;
}

/** An entry that the socket tells of. @param {TimelineItem} item */
export function arrive(item) {
  const own = item.post.authorId === myId.peek();
  if (own && outbox.peek().some((post) => post.state === "sending")) {
    early.push(item);
    return;
  }
  keepItem(item, false);
  if (own) showFirst(item.post.postId);
  else wait([item.post.postId]);
  if (!person(item.post.authorId).peek()) void learnAuthor(item.post.authorId);
}

/** The writing that was under way is decided. */
export function settleEarly() {
  const told = early;
  early = [];
  told.forEach(arrive);
}

/** @param {string} id */
async function learnAuthor(id) {
  const page = await users.byIds([id]).catch(() => null);
  page?.items.forEach(keepPerson);
}

/** @param {string} id */
const isKnown = (id) =>
  home.ids.peek().includes(id) || waiting.peek().includes(id) || gone.peek().has(id);

/** Shows a post of one's own at once. @param {string} id */
export function showFirst(id) {
  if (isKnown(id)) return;
  home.ids.value = [id, ...home.ids.peek()];
  successor?.ids.unshift(id);
}

/** @param {string[]} ids */
function wait(ids) {
  const fresh = ids.filter((id) => !isKnown(id));
  if (fresh.length > 0) waiting.value = newestFirst([...waiting.peek(), ...fresh]);
}

/** Ids sort by the time of writing. @param {string[]} ids */
const newestFirst = (ids) => [...new Set(ids)].sort().reverse();

/** Shows what has waited. @returns {string | undefined} the first of it */
export function showWaiting() {
  const [first] = waiting.peek();
  if (successor) {
    const { ids, next, prev } = successor;
    // What has arrived since that page was read is not on it; what is older comes with the next one.
    const last = next === null ? "" : (ids.at(-1) ?? "");
    home.ids.value = newestFirst([...waiting.peek(), ...ids]).filter((id) => id >= last);
    home.next = next;
    // A later page of what was shown may be under way.
    home.turn += 1;
    home.phase.value = "ready";
    upward = prev;
    gap.value = "none";
  } else {
    home.ids.value = [...waiting.peek(), ...home.ids.peek()];
  }
  waiting.value = [];
  successor = null;
  return first;
}

/** @param {string} id */
export function remove(id) {
  forgetPost(id);
  if (waiting.peek().includes(id)) waiting.value = waiting.peek().filter((other) => other !== id);
}

/**
 * The gap is too wide to be told, or whom one follows has changed: what is new waits, and replaces
 * what is shown once it is asked for, so that nothing moves under the reader.
 * @returns {Promise<Start | null>} nothing where it failed
 */
export async function catchUp() {
  if (home.ids.peek().length === 0 || home.phase.peek() === "failed") return readHome();
  const page = await readPage(null).catch(() => null);
  if (!page) return null;
  const fresh = page.ids.filter((id) => !isKnown(id));
  if (fresh.length > 0) {
    const meets = page.ids.some((id) => home.ids.peek().includes(id));
    if (!meets && gap.peek() === "none") gap.value = "open";
    successor = page;
    wait(fresh);
  }
  await dropDeleted();
  return { cursor: page.prev };
}

/** Takes off the screen what was deleted while nobody told. */
async function dropDeleted() {
  const shown = home.ids.peek().slice(0, 100);
  if (shown.length === 0) return;
  const there = await posts.byIds(shown).catch(() => null);
  if (!there) return;
  const ids = new Set(there.items.map((post) => post.postId));
  shown.filter((id) => !ids.has(id)).forEach(remove);
}

/** One no longer follows somebody: their posts leave. @param {string} authorId */
export function dropAuthor(authorId) {
  const stays = (/** @type {string} */ id) => entry(id).peek()?.post.authorId !== authorId;
  home.ids.value = home.ids.peek().filter(stays);
  waiting.value = waiting.peek().filter(stays);
  if (successor) successor.ids = successor.ids.filter(stays);
}

/** Forgets everything: somebody else is here now. */
export function forgetHome() {
  home.turn += 1;
  home.ids.value = [];
  home.phase.value = "new";
  home.next = null;
  waiting.value = [];
  reachTop(null);
  early = [];
}
