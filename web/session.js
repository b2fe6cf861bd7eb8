// Who is signed in: kept in the browser for all tabs, and refreshed by one of them for all.
import { session } from "./state.js";
import * as store from "./store.js";
import { forgetTurns, inTurn } from "./turn.js";
import { Problem, send } from "./wire.js";

/** @import {OwnProfile, Session, Tokens} from "./types.d.ts" */

const KEY = "mini-sns.session";
/** A token is replaced when it has less than this left. */
const MARGIN_MS = 60_000;

/** @type {() => Session | null} */
const stored = () => store.readJson(KEY);

/** Takes up the session that the browser has kept, and follows what other tabs do to it. */
export function start() {
  session.value = stored();
  addEventListener("storage", (event) => {
    if (event.key === KEY || event.key === null) session.value = stored();
  });
}

/** @param {Session | null} next */
export function keep(next) {
  store.write(KEY, next && JSON.stringify(next));
  if (!next) forgetTurns();
  session.value = next;
}

/** @param {Tokens} tokens @returns {Session} */
export function begin({ user, accessToken, refreshToken, expiresIn }) {
  const expiresAt = Date.now() + expiresIn * 1000;
  const next = { user, accessToken, refreshToken, expiresAt };
  keep(next);
  return next;
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

/** @param {OwnProfile} user  what the server says of whoever is signed in */
export function keepUser(user) {
  const held = session.peek();
  if (held?.user.userId === user.userId) keep({ ...held, user });
  return user;
}

/** @type {Promise<string> | null} */
let refreshing = null;

/** @param {string | undefined} refused */
function refresh(refused) {
  refreshing ??= refreshNow(refused).finally(() => (refreshing = null));
  return refreshing;
}

/** @param {string | undefined} refused */
async function refreshNow(refused) {
  await inTurn(async (last) => {
    const kept = stored() ?? session.peek();
    // A refresh token that is used twice ends the session: another tab may have been here first,
    // and the storage need not have told it yet.
    const held = kept && kept.refreshToken === last.spent ? (last.session ?? kept) : kept;
    if (!held) {
      session.value = null;
      throw new Problem({ code: "unauthenticated", status: 401 });
    }
    if (isGood(held, refused)) {
      session.value = held;
      return last;
    }
    try {
      const body = { refreshToken: held.refreshToken };
      const next = begin(await send("POST", "/auth/refresh", { body }));
      return { spent: held.refreshToken, session: next };
    } catch (problem) {
      if (problem instanceof Problem && problem.status === 401) keep(null);
      throw problem;
    }
  });
  const now = session.peek();
  // Another tab has signed out meanwhile.
  if (!now) throw new Problem({ code: "unauthenticated", status: 401 });
  return now.accessToken;
}
