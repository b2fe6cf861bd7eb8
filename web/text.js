// What a person typed, cut into plain text, links, @handles and #tags. Pure; nothing here makes HTML.

/**
 * @typedef {{kind: "text", text: string}
 *   | {kind: "link", text: string, href: string}
 *   | {kind: "handle", text: string, handle: string}
 *   | {kind: "tag", text: string}} Segment
 */

/** Limits of the server, in characters as people count them. */
export const TEXT_MAX = 500;
export const NAME_MAX = 50;
export const BIO_MAX = 300;
export const REPORT_MAX = 1000;

const LINK = /https?:\/\/[^\s<>"'`{}|\\^\u0000-\u001f\u3000-\u303f\uff00-\uffef\p{Bidi_Control}]+/iu;
const HANDLE = /(?<![\p{L}\p{N}_@/.])@([A-Za-z0-9_]{3,30})(?![A-Za-z0-9_@])/u;
const TAG = /(?<![\p{L}\p{N}_&/#])[#＃](?=[\p{L}\p{N}_]*\p{L})[\p{L}\p{M}\p{N}_]{1,100}/u;
const ANY = new RegExp(`${LINK.source}|${HANDLE.source}|${TAG.source}`, "giu");

/**
 * @param {string} text
 * @returns {Segment[]} in order; joined, their `text` is the text that was given
 */
export function segments(text) {
  /** @type {Segment[]} */
  const found = [];
  let end = 0;
  for (const match of text.matchAll(ANY)) {
    const segment = read(match[0], match[1]);
    if (!segment) continue;
    if (match.index > end) found.push({ kind: "text", text: text.slice(end, match.index) });
    found.push(segment);
    end = match.index + segment.text.length;
  }
  if (end < text.length) found.push({ kind: "text", text: text.slice(end) });
  return found;
}

/**
 * @param {string} match
 * @param {string | undefined} handle
 * @returns {Segment | null}
 */
function read(match, handle) {
  if (handle) return { kind: "handle", text: match, handle: handle.toLowerCase() };
  if (/^[#＃]/u.test(match)) return { kind: "tag", text: match };
  const text = withoutTail(match);
  const href = safeLink(text);
  return href ? { kind: "link", text, href } : null;
}

/**
 * Punctuation behind a link belongs to the sentence; so does a bracket that opens before it.
 * @param {string} link
 */
function withoutTail(link) {
  for (;;) {
    const last = link[link.length - 1];
    const unopened =
      (last === ")" && !link.includes("(")) || (last === "]" && !link.includes("["));
    if (!unopened && !/[.,;:!?*_~]/.test(last)) return link;
    link = link.slice(0, -1);
  }
}

/**
 * @param {string} text
 * @returns {string | null} an address that is http or https, has a host and no password in it
 */
export function safeLink(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  const web = url.protocol === "http:" || url.protocol === "https:";
  return web && url.hostname && !url.username && !url.password ? url.href : null;
}

const characters = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/**
 * How many characters a text has as people count them, once it is trimmed and NFC as the server
 * makes it.
 * @param {string} text
 */
export function length(text) {
  let count = 0;
  for (const _ of characters.segment(text.trim().normalize("NFC"))) count += 1;
  return count;
}

/**
 * The first character to draw on a portrait.
 * @param {string} name
 */
export function initial(name) {
  const visible = name.replace(/[\p{C}\p{Z}]/gu, "");
  for (const { segment } of characters.segment(visible)) {
    // One mark more or less does not matter at this size; fifty of them would leave the circle.
    return [...segment.normalize("NFC")].slice(0, 2).join("").toUpperCase();
  }
  return "";
}

/**
 * Which rules of a password a text does not meet.
 * @param {string} text
 * @returns {("length" | "letter" | "digit" | "symbol")[]}
 */
export function weaknesses(text) {
  const normal = text.normalize("NFC");
  const count = [...normal].length;
  /** @type {["length" | "letter" | "digit" | "symbol", boolean][]} */
  const rules = [
    ["length", count >= 8 && count <= 256],
    ["letter", /\p{Alphabetic}/u.test(normal)],
    ["digit", /\p{N}/u.test(normal)],
    ["symbol", /[^\p{Alphabetic}\p{N}\p{Cc}]/u.test(normal)],
  ];
  return rules.filter(([, met]) => !met).map(([rule]) => rule);
}
