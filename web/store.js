// What the browser keeps for this client. One that refuses, or is full, keeps nothing, and all goes on.

/**
 * @template T
 * @param {() => T} work
 * @returns {T | null}
 */
function attempt(work) {
  try {
    return work();
  } catch {
    return null;
  }
}

/** @param {string} key */
export const read = (key) => attempt(() => localStorage.getItem(key));

/** @param {string} key @returns {any} nothing where it cannot be read */
export const readJson = (key) => attempt(() => JSON.parse(localStorage.getItem(key) ?? "null"));

/** @param {string} key @param {string | null} value  nothing forgets the key */
export function write(key, value) {
  attempt(() =>
    value === null ? localStorage.removeItem(key) : localStorage.setItem(key, value),
  );
}

/** @param {string} part @returns {string[]} the keys that have it in them */
export const keysWith = (part) =>
  attempt(() => Object.keys(localStorage).filter((key) => key.includes(part))) ?? [];
