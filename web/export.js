// Everything that a person has here, as data.
import { posts, users } from "./api.js";

/** @import {Hide, Page, Post, FollowEntry} from "./types.d.ts" */

/**
 * @template T
 * @param {(cursor: string | null) => Promise<Page<T>>} read
 */
async function all(read) {
  /** @type {T[]} */
  const items = [];
  let cursor = null;
  do {
    const page = await read(cursor);
    items.push(...page.items);
    cursor = page.nextCursor ?? null;
  } while (cursor);
  return items;
}

export async function collect() {
  const profile = await users.me();
  const id = profile.userId;
  const written = await all((cursor) => posts.list({ authorId: id, cursor, limit: 100 }));
  const following = await all((cursor) => users.around(id, "following", cursor));
  const followers = await all((cursor) => users.around(id, "followers", cursor));
  const hidden = (/** @type {Hide} */ kind) => all((cursor) => users.hidden(kind, cursor, 100));
  const [blocks, mutes] = [await hidden("block"), await hidden("mute")];
  const people = { following, followers, blocks, mutes };
  return { exportedAt: new Date().toISOString(), profile, posts: written, ...people };
}
