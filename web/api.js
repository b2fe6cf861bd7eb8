// The calls of Mini-SNS that this client makes, with the token of whoever is signed in.
import { accessToken, begin, keep, keepUser } from "./session.js";
import { myId, session } from "./state.js";
import * as store from "./store.js";
import { Problem, send } from "./wire.js";

/** @import {Profile, OwnProfile, Post, Page, TimelineItem, FollowState, LikeState, Liker,
 *    FollowEntry, Hide, PostLikes} from "./types.d.ts" */

/**
 * Nothing is sent in the name of somebody who did not ask for it, nor answered to them.
 * @param {string} method
 * @param {string} path
 * @param {{body?: unknown, headers?: Record<string, string>}} [more]
 * @returns {Promise<any>} the body of the answer
 */
async function call(method, path, more = {}) {
  const who = myId.peek();
  const check = () => {
    if (session.peek() && myId.peek() !== who) {
      throw new Problem({ code: "unauthenticated", status: 401 });
    }
  };
  const attempt = async (/** @type {string} */ token) => {
    check();
    const headers = { ...more.headers, authorization: `Bearer ${token}` };
    const body = await send(method, path, { ...more, headers });
    check();
    return body;
  };
  const token = await accessToken();
  try {
    return await attempt(token);
  } catch (problem) {
    if (!(problem instanceof Problem && problem.code === "unauthenticated")) throw problem;
    return attempt(await accessToken(token));
  }
}

/** @param {Record<string, string | number | null | undefined>} parts */
function query(parts) {
  const given = Object.entries(parts).filter(([, value]) => value != null && value !== "");
  return given.length ? `?${new URLSearchParams(given.map(([k, v]) => [k, String(v)]))}` : "";
}

/** Signing in and out. */
export const account = {
  /** @param {{email: string, password: string, handle?: string, displayName?: string}} body */
  register: async (body) => begin(await send("POST", "/auth/register", { body })),
  /** @param {{email: string, password: string}} body */
  signIn: async (body) => begin(await send("POST", "/auth/login", { body })),
  /** A code goes to the address, if there is an account with it. @param {string} email */
  forgot: (email) => send("POST", "/auth/password/forgot", { body: { email } }),
  /** @param {{email: string, code: string, password: string}} body */
  reset: (body) => send("POST", "/auth/password/reset", { body }),
  /** A code goes to one's own address. */
  askConfirmation: () => call("POST", "/users/me/email/confirmation"),
  /** @param {string} code */
  confirmEmail: (code) => call("POST", "/users/me/email/confirm", { body: { code } }),
  /** @param {boolean} everywhere */
  signOut: async (everywhere) => {
    const held = session.peek();
    if (!held) return;
    const body = everywhere
      ? { refreshToken: held.refreshToken, everywhere }
      : { refreshToken: held.refreshToken };
    await call("POST", "/auth/logout", { body });
    keep(null);
  },
  /** @param {{currentPassword: string, newPassword: string}} body */
  changePassword: (body) => call("POST", "/auth/password", { body }),
  /** @param {string} password */
  remove: async (password) => {
    const id = myId.peek();
    await call("DELETE", "/users/me", { body: { password } });
    keep(null);
    // Drafts, and what was not sent.
    if (id) store.keysWith(id).forEach((key) => store.write(key, null));
  },
};

/** @type {(id: string) => string} */
const part = encodeURIComponent;

export const users = {
  /** @returns {Promise<OwnProfile>} */
  me: async () => keepUser(await call("GET", "/users/me")),
  /** @param {{handle?: string, displayName?: string, bio?: string}} body */
  edit: async (body) => keepUser(await call("PATCH", "/users/me", { body })),
  /** @param {string} handle @returns {Promise<Profile>} */
  byHandle: (handle) => call("GET", `/users/by-handle/${part(handle)}`),
  /** @param {string[]} ids @returns {Promise<{items: Profile[]}>} */
  byIds: (ids) => call("GET", `/users${query({ ids: ids.join(",") })}`),
  /** @param {string} q @param {string | null} cursor @returns {Promise<Page<Profile>>} */
  search: (q, cursor) => call("GET", `/users/search${query({ q, cursor })}`),
  /** @param {string} id @returns {Promise<FollowState>} */
  follow: (id) => call("GET", `/users/${part(id)}/follow`),
  /** @param {string} id @param {boolean} on @returns {Promise<{following: boolean}>} */
  setFollow: (id, on) => call(on ? "POST" : "DELETE", `/users/${part(id)}/follow`),
  /** @param {Hide} kind @param {string} id @param {boolean} on */
  setHide: (kind, id, on) => call(on ? "POST" : "DELETE", `/users/${part(id)}/${kind}`),
  /** Whom one blocks or mutes. @param {Hide} kind @param {string | null} cursor
   *  @param {number} [limit] @returns {Promise<Page<{user: Profile}>>} */
  hidden: (kind, cursor, limit) => call("GET", `/users/me/${kind}s${query({ cursor, limit })}`),
  /** @param {string} id @param {"followers" | "following"} side @param {string | null} cursor
   *  @returns {Promise<Page<FollowEntry>>} */
  around: (id, side, cursor) => call("GET", `/users/${part(id)}/${side}${query({ cursor })}`),
};

export const posts = {
  /** @param {string | null} cursor @returns {Promise<Page<TimelineItem>>} */
  timeline: (cursor) => call("GET", `/timeline${query({ cursor })}`),
  /** @param {{authorId?: string, cursor: string | null, limit?: number}} which
   *  @returns {Promise<Page<Post>>} */
  list: (which) => call("GET", `/posts${query(which)}`),
  /** @param {string} id @returns {Promise<Post>} */
  get: (id) => call("GET", `/posts/${part(id)}`),
  /** @param {string[]} ids @returns {Promise<{items: Post[]}>} */
  byIds: (ids) => call("GET", `/posts${query({ ids: ids.join(",") })}`),
  /** @param {string} text @param {string} key @returns {Promise<Post>} */
  write: (text, key) =>
    call("POST", "/posts", { body: { text }, headers: { "idempotency-key": key } }),
  /** @param {string} id */
  remove: (id) => call("DELETE", `/posts/${part(id)}`),
  /** @param {{postId?: string, userId?: string, reason: string, text: string}} body */
  report: (body) => call("POST", "/reports", { body }),
  /** @param {string} id @param {boolean} on @returns {Promise<LikeState>} */
  setLike: (id, on) => call(on ? "POST" : "DELETE", `/posts/${part(id)}/likes`),
  /** @param {string} id @param {string | null} cursor
   *  @returns {Promise<Page<Liker> & LikeState>} */
  likers: (id, cursor) => call("GET", `/posts/${part(id)}/likes${query({ cursor })}`),
  /** @param {string[]} ids @returns {Promise<{items: PostLikes[]}>} */
  likes: (ids) => call("GET", `/likes${query({ postIds: ids.join(",") })}`),
};
