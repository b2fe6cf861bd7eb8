// The words in the reader's language, of which only the one that is read is fetched.
import { signal } from "@preact/signals";
import { language } from "../state.js";
import * as store from "../store.js";

/** @typedef {typeof import("./en.js").en} Words */
/** @typedef {keyof Words} Key */

const KEY = "mini-sns.language";
/** @type {{ja: () => Promise<Words>, en: () => Promise<Words>}} */
const fetched = {
  ja: async () => (await import("./ja.js")).ja,
  en: async () => (await import("./en.js")).en,
};
const words = signal(/** @type {Partial<Words>} */ ({}));

/**
 * @param {Key | `problem.${string}`} key
 * @param {any} [args]
 * @returns {string}
 */
export function t(key, args) {
  const all = /** @type {Record<string, string | ((args: any) => string)>} */ (words.value);
  // A newer server may have codes that this client does not know.
  const word = all[key] ?? all[key.startsWith("problem.") ? "problem.internal" : key] ?? key;
  return typeof word === "function" ? word(args) : word;
}

/** Takes the language that was chosen before, or else one that the browser asks for. */
export const start = () => choose(document.documentElement.lang, false);

/** @param {string} name @param {boolean} [keep] */
export async function choose(name, keep = true) {
  const next = name === "ja" ? "ja" : "en";
  words.value = await fetched[next]();
  language.value = next;
  document.documentElement.lang = next;
  if (keep) store.write(KEY, next);
}
