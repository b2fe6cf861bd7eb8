// Which page an address stands for. Pure.

/**
 * @typedef {{name: "home" | "explore" | "find" | "settings" | "signIn" | "signUp" | "forgot" | "nowhere"}
 *   | {name: "post", id: string}
 *   | {name: "profile", handle: string, tab: "posts" | "followers" | "following"}} Route
 */

/** @type {Record<string, Route>} */
const FIXED = {
  "/": { name: "home" },
  "/explore": { name: "explore" },
  "/find": { name: "find" },
  "/settings": { name: "settings" },
  "/sign-in": { name: "signIn" },
  "/sign-up": { name: "signUp" },
  "/forgot": { name: "forgot" },
};

/**
 * @param {string} path
 * @returns {Route}
 */
export function match(path) {
  const fixed = Object.hasOwn(FIXED, path) ? FIXED[path] : undefined;
  if (fixed) return fixed;
  const post = /^\/posts\/([0-9A-Za-z]{26})$/.exec(path);
  if (post) return { name: "post", id: post[1].toUpperCase() };
  const person = /^\/@([A-Za-z0-9_]{3,30})(?:\/(followers|following))?$/.exec(path);
  if (person) {
    const tab = /** @type {"followers" | "following" | undefined} */ (person[2]);
    return { name: "profile", handle: person[1].toLowerCase(), tab: tab ?? "posts" };
  }
  return { name: "nowhere" };
}

/**
 * Where to go after signing in: a place of this client, never an address elsewhere.
 * @param {string | null} wanted
 */
export function after(wanted) {
  if (!wanted || !/^\/(?![/\\])/.test(wanted)) return "/";
  return match(wanted.split(/[?#]/)[0]).name === "nowhere" ? "/" : wanted;
}
