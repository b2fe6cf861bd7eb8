// What /metrics says, and what two readings of it say together. No page and no network in here.

/**
 * @typedef {{labels: Record<string, string>, value: number}} Sample
 * @typedef {Map<string, Sample[]>} Reading  samples by the name of their metric
 */

const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/**
 * Reads Prometheus' text form.
 * @param {string} text
 * @returns {Reading}
 */
export function parse(text) {
  const reading = new Map();
  for (const line of text.split("\n")) {
    const [, name, inner, number] = LINE.exec(line) ?? [];
    if (!name) continue;
    /** @type {Record<string, string>} */
    const labels = {};
    for (const [, key, value] of (inner ?? "").matchAll(LABEL)) {
      labels[key] = value.replace(/\\(.)/g, (_, letter) => (letter === "n" ? "\n" : letter));
    }
    const value = number === "+Inf" ? Infinity : Number(number);
    if (!reading.has(name)) reading.set(name, []);
    reading.get(name).push({ labels, value });
  }
  return reading;
}

/** @param {Sample} sample @param {Record<string, string>} where */
const fits = ({ labels }, where) =>
  Object.entries(where).every(([key, value]) => labels[key] === value);

/**
 * The sum of a metric's samples that have these labels; undefined where there is none.
 * @param {Reading} reading @param {string} name @param {Record<string, string>} [where]
 */
export function sum(reading, name, where = {}) {
  const found = (reading.get(name) ?? []).filter((sample) => fits(sample, where));
  return found.length ? found.reduce((total, { value }) => total + value, 0) : undefined;
}

/**
 * The largest of them.
 * @param {Reading} reading @param {string} name @param {Record<string, string>} [where]
 */
export function most(reading, name, where = {}) {
  const found = (reading.get(name) ?? []).filter((sample) => fits(sample, where));
  return found.length ? Math.max(...found.map(({ value }) => value)) : undefined;
}

/**
 * By how much a counter grew. One that was set back by a restart counts from zero.
 * @param {Reading} before @param {Reading} after @param {string} name
 * @param {Record<string, string>} [where]
 */
export function growth(before, after, name, where = {}) {
  const now = sum(after, name, where) ?? 0;
  const then = sum(before, name, where) ?? 0;
  return now < then ? now : now - then;
}

/**
 * The bound below which a share `q` of what a histogram took in between lies, taken to be spread
 * evenly within its bucket; undefined where it took in nothing.
 * @param {Reading} before @param {Reading} after @param {string} name  without `_bucket`
 * @param {number} q @param {Record<string, string>} [where]
 */
export function quantile(before, after, name, q, where = {}) {
  const bounds = new Set((after.get(`${name}_bucket`) ?? []).map(({ labels }) => labels.le));
  const buckets = [...bounds]
    .map((le) => ({
      le: le === "+Inf" ? Infinity : Number(le),
      count: growth(before, after, `${name}_bucket`, { ...where, le }),
    }))
    .sort((a, b) => a.le - b.le);
  const total = buckets.at(-1)?.count ?? 0;
  if (total <= 0) return undefined;
  const wanted = q * total;
  let [low, below] = [0, 0];
  for (const { le, count } of buckets) {
    if (count >= wanted) {
      if (le === Infinity) return low;
      const share = count > below ? (wanted - below) / (count - below) : 1;
      return low + (le - low) * share;
    }
    [low, below] = [le, count];
  }
  return low;
}

/**
 * The values of one label that a metric has.
 * @param {Reading} reading @param {string} name @param {string} label
 */
export function values(reading, name, label) {
  return [...new Set((reading.get(name) ?? []).map(({ labels }) => labels[label] ?? ""))].sort();
}
