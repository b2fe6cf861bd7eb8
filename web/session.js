// Who is signed in: kept in the browser for all tabs, and refreshed by one of them for all.
import { PATIENCE_MS, Problem, send } from "./wire.js";
import { session } from "./state.js";

/** @import {Session, Tokens} from "./types.d.ts" */

const KEY = "mini-sns.session";
const LOCK = "mini-sns.refresh";
/** A token is replaced when it has less than this left. */
const MARGIN_MS = 60_000;
/** Longer than a refresh can take, so that no other tab begins one meanwhile. */
const LEASE_MS = PATIENCE_MS + 5000;

/** @returns {Session | null} */
function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "null");
  } catch {
    return null;
  }
}

/** Takes up the session that the browser has kept, and follows what other tabs do to it. */
export function start() {
  session.value = stored();
  addEventListener("storage", (event) => {
    if (event.key === KEY || event.key === null) session.value = stored();
  });
}

/** @param {Session | null} next */
export function keep(next) {
  if (next) localStorage.setItem(KEY, JSON.stringify(next));
  else localStorage.removeItem(KEY);
  session.value = next;
}

/** @param {Tokens} tokens */
export function begin({ user, accessToken, refreshToken, expiresIn }) {
  const expiresAt = Date.now() + expiresIn * 1000;
  keep({ user, accessToken, refreshToken, expiresAt });
}

/**
 * A token that is good for a while.
 * @param {string} [refused]  a token that the server does not take any more
 * @returns {Promise<string>}
 */
export async function accessToken(refused) {
  const now = session.peek();
  if (!now) throw new Problem({ code: "unauthenticated", status: 401 });
  if (isGood(now, refused)) return now.accessToken;
  return refresh(refused);
}

/** @param {Session} held @param {string | undefined} refused */
const isGood = (held, refused) =>
  held.accessToken !== refused && held.expiresAt - Date.now() > MARGIN_MS;

/** @type {Promise<string> | null} */
let refreshing = null;

/** @param {string | undefined} refused */
function refresh(refused) {
  refreshing ??= alone(() => refreshNow(refused)).finally(() => (refreshing = null));
  return refreshing;
}

/** @param {string | undefined} refused */
async function refreshNow(refused) {
  // Another tab may have been here first. A refresh token that is used twice ends the session.
  const held = stored();
  if (!held) {
    session.value = null;
    throw new Problem({ code: "unauthenticated", status: 401 });
  }
  if (!isGood(held, refused)) {
    try {
      const body = { refreshToken: held.refreshToken };
      begin(await send("POST", "/auth/refresh", { body }));
    } catch (problem) {
      if (problem instanceof Problem && problem.status === 401) keep(null);
      throw problem;
    }
  } else {
    session.value = held;
  }
  return /** @type {Session} */ (session.peek()).accessToken;
}

/**
 * Runs `work` while no other tab does. Over plain HTTP browsers have no locks; a note in the storage
 * that all tabs share stands in for one there.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
async function alone(work) {
  if (navigator.locks) return navigator.locks.request(LOCK, work);
  const mine = `${Math.random()}`;
  for (;;) {
    const [owner, until] = (localStorage.getItem(LOCK) ?? " 0").split(" ");
    if (owner === mine) break;
    if (Number(until) < Date.now()) localStorage.setItem(LOCK, `${mine} ${Date.now() + LEASE_MS}`);
    // Time for a tab that wrote at the same moment; the last one to write has it.
    await new Promise((resolve) => setTimeout(resolve, 50 + Math.random() * 50));
  }
  try {
    return await work();
  } finally {
    localStorage.removeItem(LOCK);
  }
}
