// Lists that are read page by page, kept while one goes elsewhere, so that back shows the same.
import { signal } from "@preact/signals";
import { posts, users } from "./api.js";
import { entry, follow, incomplete, keepPerson, keepPost, myId, person } from "./state.js";
import { asProblem } from "./wire.js";

/** @import {Signal} from "@preact/signals" */
/** @import {Hide, Post, Profile, Page} from "./types.d.ts" */
/** @import {Problem} from "./wire.js" */

/** @typedef {{ids: string[], next: string | null, prev: string | null}} Read */
/** @typedef {"new" | "loading" | "ready" | "more" | "failed" | "stuck"} Phase */

/** A list of ids; what they stand for is in the state. */
export class List {
  /** @param {(cursor: string | null) => Promise<Read>} read */
  constructor(read) {
    this.read = read;
    /** @type {Signal<string[]>} */
    this.ids = signal([]);
    /** "failed" is the first page, "stuck" a later one. @type {Signal<Phase>} */
    this.phase = signal(/** @type {Phase} */ ("new"));
    /** @type {Signal<Problem | null>} */
    this.problem = signal(null);
    /** @type {string | null} */
    this.next = null;
    this.turn = 0;
  }

  get ended() {
    return this.phase.value === "ready" && this.next === null;
  }

  /** Reads the first page, and shows it in place of what is there. @returns {Promise<Read | null>} */
  async load() {
    const page = await this.#page(null, "loading", "failed");
    if (page) this.ids.value = page.ids;
    return page;
  }

  /** Reads the next page. */
  async more() {
    const phase = this.phase.peek();
    if (this.next === null || (phase !== "ready" && phase !== "stuck")) return;
    const page = await this.#page(this.next, "more", "stuck");
    if (!page) return;
    const known = new Set(this.ids.peek());
    this.ids.value = [...this.ids.peek(), ...page.ids.filter((id) => !known.has(id))];
  }

  /**
   * @param {string | null} cursor
   * @param {"loading" | "more"} during
   * @param {"failed" | "stuck"} otherwise
   * @returns {Promise<Read | null>} nothing where it failed or is out of date
   */
  async #page(cursor, during, otherwise) {
    const turn = ++this.turn;
    this.phase.value = during;
    try {
      const page = await this.read(cursor);
      if (turn !== this.turn) return null;
      this.next = page.next;
      this.problem.value = null;
      this.phase.value = "ready";
      return page;
    } catch (problem) {
      if (turn !== this.turn) return null;
      this.problem.value = asProblem(problem);
      this.phase.value = otherwise;
      return null;
    }
  }
}

/** @type {Map<string, List>} */
const kept = new Map();

/** @param {string} key @param {(cursor: string | null) => Promise<Read>} read */
function list(key, read) {
  let found = kept.get(key);
  if (!found) kept.set(key, (found = new List(read)));
  return found;
}

/** Shows a new post of one's own where it belongs. @param {string} postId @param {string} authorId */
export function showInLists(postId, authorId) {
  for (const key of ["everybody", `posts ${authorId}`]) {
    const shown = kept.get(key);
    if (!shown || shown.phase.peek() !== "ready" || shown.ids.peek().includes(postId)) continue;
    shown.ids.value = [postId, ...shown.ids.peek()];
  }
}

/** One blocks somebody: their posts leave. @param {string} authorId */
export function dropFromLists(authorId) {
  const stays = (/** @type {string} */ id) => entry(id).peek()?.post.authorId !== authorId;
  const all = everybody();
  all.ids.value = all.ids.peek().filter(stays);
  forgetPostsOf(authorId);
}

/** What is known of their list is no longer true. @param {string} authorId */
export const forgetPostsOf = (authorId) => void kept.delete(`posts ${authorId}`);

/** Forgets every list: somebody else is here now. */
export const forgetLists = () => kept.clear();

/** @param {Page<unknown>} page @param {string[]} ids @returns {Read} */
const read = (page, ids) => ({ ids, next: page.nextCursor ?? null, prev: page.prevCursor ?? null });

/** What everybody writes. */
export const everybody = () =>
  list("everybody", async (cursor) => {
    const page = await posts.list({ cursor });
    return read(page, await keepPosts(page.items));
  });

/** @param {string} authorId */
export const postsOf = (authorId) =>
  list(`posts ${authorId}`, async (cursor) => {
    const page = await posts.list({ authorId, cursor });
    return read(page, await keepPosts(page.items));
  });

/** @param {string} userId @param {"followers" | "following"} side */
export const around = (userId, side) =>
  list(`${side} ${userId}`, async (cursor) => {
    const page = await users.around(userId, side, cursor);
    return read(page, keepPeople(page.items.map((item) => item.user)));
  });

/** @param {string} postId */
export const likersOf = (postId) =>
  list(`likers ${postId}`, async (cursor) => {
    const page = await posts.likers(postId, cursor);
    const known = entry(postId).peek();
    if (known) keepPost(known.post, page.likeCount, page.liked);
    return read(page, keepPeople(page.items.map((item) => item.user)));
  });

/** @param {string} q */
export const found = (q) =>
  list(`found ${q}`, async (cursor) => {
    const page = await users.search(q, cursor);
    return read(page, keepPeople(page.items));
  });

/** Whom one blocks or mutes. @param {Hide} kind */
export const hiddenBy = (kind) =>
  list(`hidden ${kind}`, async (cursor) => {
    const page = await users.hidden(kind, cursor);
    page.items.forEach((item) => keepPerson(item.user));
    return read(page, page.items.map((item) => item.user.userId));
  });

/** @param {Profile[]} profiles */
function keepPeople(profiles) {
  profiles.forEach(keepPerson);
  const ids = profiles.map((profile) => profile.userId);
  void learnFollows(ids);
  return ids;
}

/**
 * Keeps posts, with their authors and likes. Where those do not answer, the posts are shown without.
 * @param {Post[]} items
 */
export async function keepPosts(items) {
  const ids = items.map((post) => post.postId);
  const authors = [...new Set(items.map((post) => post.authorId))];
  const strangers = authors.filter((id) => !person(id).peek());
  const [people, likes] = await Promise.allSettled([
    strangers.length ? users.byIds(strangers) : { items: [] },
    ids.length ? posts.likes(ids) : { items: [] },
  ]);
  if (people.status === "fulfilled") people.value.items.forEach(keepPerson);
  const stand = likes.status === "fulfilled" ? likes.value.items : [];
  const byId = new Map(stand.map((item) => [item.postId, item]));
  for (const post of items) {
    const item = byId.get(post.postId);
    keepPost(post, item?.likeCount ?? null, item?.liked ?? null);
  }
  return ids;
}

/** How many posts a call takes. */
const CALL_MAX = 100;

/** Asks again for what a part of the server did not tell when it did not answer. */
export async function learnMissing() {
  const posts = incomplete().slice(-CALL_MAX);
  if (posts.length > 0) await keepPosts(posts);
}

/**
 * Learns whom of them one follows, a few at a time. A button whose state is not known is not shown.
 * @param {string[]} ids
 */
export async function learnFollows(ids) {
  const unknown = ids.filter((id) => id !== myId.peek() && !follow(id).peek());
  const learn = async () => {
    for (let id = unknown.shift(); id; id = unknown.shift()) await learnFollow(id);
  };
  await Promise.all(Array.from({ length: 4 }, learn));
}

/** Learns how one stands to a person, and their counts, as they are now. @param {string} id */
export async function learnFollow(id) {
  const slot = follow(id);
  const state = await users.follow(id).catch(() => null);
  if (state && !slot.peek()?.busy) slot.value = { ...state, busy: false };
}
