// Which cursor a socket is resumed from. Pure.

/**
 * @typedef {{kept: string | null, hello: string | null, resuming: boolean, dropped: boolean}} Place
 * `kept` is where everything before is known; `hello` where this socket's live entries begin. While
 * a resume is under way entries may come out of order, so their cursors are not kept.
 */

/** @type {Place} */
export const START = { kept: null, hello: null, resuming: false, dropped: false };

/**
 * @typedef {{type: "open"} | {type: "hello", cursor: string} | {type: "entry", cursor: string}
 *   | {type: "settled"} | {type: "resync"} | {type: "read", cursor: string | null}
 *   | {type: "closed"}} Step
 */

/**
 * @param {Place} place
 * @param {Step} step
 * @returns {Place}
 */
export function follow(place, step) {
  switch (step.type) {
    case "open":
      return { ...place, hello: null, resuming: place.kept !== null, dropped: false };
    case "hello":
      return { ...place, hello: step.cursor };
    case "entry":
      if (place.resuming || place.dropped || place.kept === null) return place;
      return { ...place, kept: step.cursor };
    case "settled":
      return { ...place, resuming: false };
    case "resync":
      // Until a page is read the gap is there: what comes live must not hide it.
      return { ...place, kept: null, dropped: true };
    case "read":
      return { ...place, kept: place.hello ?? step.cursor, dropped: false };
    case "closed":
      return { ...place, hello: null, resuming: false };
  }
}

/**
 * How long to wait before the next attempt: 1 s, 2 s, 4 s and so on to 30 s, the half of it by chance.
 * @param {number} attempt  from 0
 * @param {number} chance  0 up to 1
 */
export function pause(attempt, chance) {
  const most = Math.min(30_000, 1000 * 2 ** attempt);
  return most / 2 + (most / 2) * chance;
}
