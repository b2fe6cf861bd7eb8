// Numbers as people read them.

/** @param {number | undefined} value @param {(value: number) => string} write */
const or = (value, write) =>
  value === undefined || Number.isNaN(value) ? "–" : write(value);

/** @param {number} value */
const short = (value) =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);

/** @param {number | undefined} value */
export const count = (value) => or(value, (number) => Math.round(number).toLocaleString("en"));

/** @param {number | undefined} value */
export const rate = (value) => or(value, (number) => `${number === 0 ? "0" : short(number)}/s`);

/** @param {number | undefined} value */
export const share = (value) => or(value, (number) => `${(number * 100).toFixed(1)} %`);

/** @param {number | undefined} secs */
export const time = (secs) =>
  or(secs, (number) => {
    if (number === 0) return "0 s";
    if (number < 1) return `${short(number * 1000)} ms`;
    if (number < 120) return `${short(number)} s`;
    if (number < 7200) return `${short(number / 60)} min`;
    return number < 172_800 ? `${short(number / 3600)} h` : `${short(number / 86_400)} d`;
  });

const SIZES = ["B", "kB", "MB", "GB", "TB"];

/** @param {number | undefined} value */
export const bytes = (value) =>
  or(value, (number) => {
    const power = Math.min(Math.floor(Math.log10(Math.max(number, 1)) / 3), SIZES.length - 1);
    return `${power ? short(number / 1000 ** power) : number} ${SIZES[power]}`;
  });
