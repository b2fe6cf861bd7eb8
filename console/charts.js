// Lines over the last ten minutes. What a chart shows last stands beside its name as text.
import uPlot from "uplot";
import { el } from "./dom.js";

const WIDTH = 272;
const HEIGHT = 150;
const SPAN_SECS = 600;

/** A colour of the page as a canvas takes it. @param {string} name */
function colour(name) {
  const probe = el("span", { hidden: true });
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}

/** @param {number} secs */
const clock = (secs) => new Date(secs * 1000).toTimeString().slice(0, 5);

export class Chart {
  /** @type {number[]} */
  times = [];
  /** @type {(number | null)[][]} */
  lines;
  /** @type {uPlot | undefined} */
  plot;

  /**
   * @param {HTMLElement} place @param {string} title
   * @param {[name: string, colour: string][]} series  each with a colour of the page
   * @param {(value: number | undefined) => string} write
   * @param {number} least  that the upper end stands for
   */
  constructor(place, title, series, write, least) {
    this.least = least;
    this.series = series;
    this.write = write;
    this.lines = series.map(() => []);
    this.said = el("span", { className: "said" });
    this.canvas = el("div", { "aria-hidden": "true" });
    const caption = el("figcaption", {}, el("strong", {}, title), " ", this.said);
    place.append(el("figure", {}, caption, this.canvas));
    this.draw();
    // Canvases do not follow the page's colours by themselves.
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  draw() {
    this.plot?.destroy();
    const axis = { stroke: colour("--ink-soft"), grid: { stroke: colour("--line"), width: 1 } };
    const options = {
      width: WIDTH,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ last) =>
          [last - SPAN_SECS, last] },
        y: { range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ max) =>
          [0, Math.max(max * 1.1, this.least)] },
      },
      axes: [{ ...axis, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map(clock) }, { ...axis, size: 64, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) =>
        ticks.map((tick) => this.write(tick)) }],
      series: [{}, ...this.series.map(([, name]) => ({
        stroke: colour(name), width: 1.5, points: { show: false },
      }))],
    };
    this.plot = new uPlot(/** @type {any} */ (options), this.data(), this.canvas);
  }

  /** @returns {any} */
  data() {
    return [this.times, ...this.lines];
  }

  /** @param {number} secs @param {(number | undefined)[]} values  one of each line */
  add(secs, values) {
    this.times.push(secs);
    values.forEach((value, line) => this.lines[line].push(value ?? null));
    if (this.times[0] < secs - SPAN_SECS) [this.times, ...this.lines].forEach((list) => list.shift());
    const said = this.series.map(([name], line) => `${name} ${this.write(values[line])}`);
    this.said.textContent = said.join(" · ");
    this.plot?.setData(this.data());
  }
}
