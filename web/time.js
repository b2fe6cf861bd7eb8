// Times and counts as the reader's language writes them. Pure.

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/**
 * How long ago, in few words: seconds are "now", a week and more is a date.
 * @param {string} at  RFC 3339
 * @param {number} now  milliseconds since 1970
 * @param {string} language
 * @param {string} [zone]  a time zone's name; the reader's own where left out
 */
export function ago(at, now, language, zone) {
  const then = Date.parse(at);
  const past = Math.max(0, now - then);
  const words = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "narrow" });
  if (past < MINUTE) return words.format(0, "second");
  if (past < HOUR) return words.format(-Math.floor(past / MINUTE), "minute");
  if (past < DAY) return words.format(-Math.floor(past / HOUR), "hour");
  if (past < 7 * DAY) return words.format(-Math.floor(past / DAY), "day");
  const year = (/** @type {number} */ ms) =>
    new Intl.DateTimeFormat("en", { year: "numeric", timeZone: zone }).format(ms);
  /** @type {Intl.DateTimeFormatOptions} */
  const date = { month: "short", day: "numeric", timeZone: zone };
  if (year(then) !== year(now)) date.year = "numeric";
  return new Intl.DateTimeFormat(language, date).format(then);
}

/**
 * The time in full.
 * @param {string} at
 * @param {string} language
 * @param {string} [zone]
 */
export function exactly(at, language, zone) {
  return new Intl.DateTimeFormat(language, {
    dateStyle: "long",
    timeStyle: "short",
    timeZone: zone,
  }).format(Date.parse(at));
}

/**
 * The month that somebody came in.
 * @param {string} at
 * @param {string} language
 * @param {string} [zone]
 */
export function month(at, language, zone) {
  const format = { year: "numeric", month: "long", timeZone: zone };
  return new Intl.DateTimeFormat(
    language, /** @type {Intl.DateTimeFormatOptions} */ (format),
  ).format(Date.parse(at));
}

/**
 * A count in few digits: 1.2M, 120万.
 * @param {number} count
 * @param {string} language
 */
export function short(count, language) {
  return new Intl.NumberFormat(language, {
    notation: count < 10_000 ? "standard" : "compact",
    maximumFractionDigits: 1,
  }).format(count);
}
