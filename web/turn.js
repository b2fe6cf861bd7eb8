// One tab at a time renews the session, and the next one finds what came of it.
//
// Other tabs hear of the local storage some time later, and over plain HTTP there are no Web Locks.
// A transaction of IndexedDB lacks neither: what one tab has written, the next one reads.
import { PATIENCE_MS } from "./wire.js";

/** @import {Session} from "./types.d.ts" */

/**
 * Who renews now, and until when at most; which token the last one spent, and for what.
 * @typedef {{owner?: string, until?: number, spent?: string, session?: Session}} Row
 */

const ROWS = "turns";
const KEY = "refresh";
/** Longer than a refresh can take, so that no other tab begins one meanwhile. */
const LEASE_MS = PATIENCE_MS + 5000;
const PAUSE_MS = 50;

/** @returns {Promise<IDBDatabase>} */
const open = () =>
  new Promise((resolve, reject) => {
    const request = indexedDB.open("mini-sns", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(ROWS);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** Reads the row and writes the next one, in one step. @param {(row: Row) => Row} next */
async function change(next) {
  const base = await open();
  try {
    await new Promise((resolve, reject) => {
      const transaction = base.transaction(ROWS, "readwrite");
      const rows = transaction.objectStore(ROWS);
      const read = rows.get(KEY);
      read.onsuccess = () => rows.put(next(read.result ?? {}), KEY);
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    base.close();
  }
}

/**
 * Waits for this tab's turn.
 * @param {string} mine  a name of its own
 * @returns {Promise<Row>} what the last one left
 */
async function take(mine) {
  for (;;) {
    /** @type {Row | undefined} */
    let left;
    await change((row) => {
      const now = Date.now();
      if ((row.until ?? 0) > now) return row;
      left = row;
      return { ...row, owner: mine, until: now + LEASE_MS };
    });
    if (left) return left;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * (1 + Math.random())));
  }
}

/**
 * Does `renew` while no other tab does. A browser that keeps no database has to do without.
 * @param {(last: Row) => Promise<Row>} renew  is told what the last one spent, and tells the next
 */
export async function inTurn(renew) {
  const mine = `${Math.random()}`;
  const last = await take(mine).catch(() => ({}));
  /** @type {Row} */
  let told = last;
  try {
    told = await renew(last);
  } finally {
    const { spent, session } = told;
    await change((row) => (row.owner === mine ? { spent, session } : row)).catch(() => {});
  }
}

/** Leaves no token behind. */
export const forgetTurns = () => void change(() => ({})).catch(() => {});
