// The words in the reader's language.
import { language } from "../state.js";
import { en } from "./en.js";
import { ja } from "./ja.js";

/** @typedef {typeof en} Words */
/** @typedef {keyof Words} Key */

const words = { en, ja };
const KEY = "mini-sns.language";

/**
 * @param {Key | `problem.${string}`} key
 * @param {any} [args]
 * @returns {string}
 */
export function t(key, args) {
  const all = /** @type {Record<string, string | ((args: any) => string)>} */ (
    words[language.value]
  );
  // A newer server may have codes that this client does not know.
  const word = all[key] ?? all[key.startsWith("problem.") ? "problem.internal" : key] ?? key;
  return typeof word === "function" ? word(args) : word;
}

/** Takes the language that was chosen before, or else one that the browser asks for. */
export function start() {
  const chosen = localStorage.getItem(KEY);
  const asked = navigator.languages.map((name) => name.slice(0, 2));
  choose(chosen ?? asked.find((name) => name === "ja" || name === "en") ?? "en", false);
}

/** @param {string} name @param {boolean} [keep] */
export function choose(name, keep = true) {
  language.value = name === "ja" ? "ja" : "en";
  document.documentElement.lang = language.value;
  if (keep) localStorage.setItem(KEY, language.value);
}
