// A list that reads on as its end comes near.
import { useEffect, useRef } from "preact/hooks";
import { t } from "../i18n/index.js";
import { arrival } from "../router.js";
import { gone } from "../state.js";
import { html } from "./html.js";
import { Empty, Failed, Skeleton } from "./states.js";

/** @import {List} from "../lists.js" */

/** The head of a page covers what lies above this. */
const HEAD_PX = 56;

const AHEAD = "1200px 0px";

/** Reads the list of a page: back shows what was there, coming anew shows what is new.
 *  @param {List} list */
export function useFresh(list) {
  useEffect(() => {
    if (list.phase.peek() === "new" || arrival !== "back") void list.load();
  }, [list]);
}

/**
 * Makes a change above, or below, of what is being read: that stays where it is on the screen.
 * @param {() => void} change
 */
export function inPlace(change) {
  const cards = [...document.querySelectorAll("[data-post]")];
  const read = cards.find((card) => card.getBoundingClientRect().bottom > HEAD_PX);
  if (!read) return change();
  const before = read.getBoundingClientRect().top;
  const root = document.documentElement;
  // Not all browsers keep the place by themselves, and none does at the top.
  root.style.overflowAnchor = "none";
  change();
  // What has changed is in the document by then, and not painted yet.
  requestAnimationFrame(() => {
    const by = read.getBoundingClientRect().top - before;
    scrollBy({ top: by, behavior: "instant" });
    root.style.overflowAnchor = "";
  });
}

/**
 * @param {{list: List, row: (id: string) => any, empty: any, before?: any, label: string}} props
 */
export function Scroll({ list, row, empty, before, label }) {
  const removed = gone.value;
  const ids = list.ids.value.filter((id) => !removed.has(id));
  const phase = list.phase.value;
  if (ids.length === 0 && !before) {
    if (phase === "new" || phase === "loading") return html`<${Skeleton} />`;
    if (phase === "failed") {
      return html`<${Failed} problem=${list.problem.value} again=${() => list.load()} />`;
    }
    if (list.next === null) return html`<${Empty}>${empty}<//>`;
  }
  return html`
    <ol class="rows" aria-label=${label}>
      ${before}
      ${ids.map((id) => html`<${Row} key=${id} id=${id} row=${row} />`)}
    </ol>
    <${End} list=${list} />
  `;
}

/** @param {{id: string, row: (id: string) => any}} props */
const Row = ({ id, row }) => row(id);

/** @param {{list: List}} props */
function End({ list }) {
  const mark = useRef(/** @type {HTMLElement | null} */ (null));
  const phase = list.phase.value;
  useEffect(() => {
    const element = mark.current;
    if (!element || phase !== "ready") return undefined;
    const watch = new IntersectionObserver(
      (seen) => seen.some((entry) => entry.isIntersecting) && void list.more(),
      { rootMargin: AHEAD },
    );
    watch.observe(element);
    return () => watch.disconnect();
  }, [list, phase, list.ids.value.length]);
  if (phase === "stuck") {
    return html`<${Failed} problem=${list.problem.value} again=${() => list.more()} />`;
  }
  return html`
    <div class="end" ref=${mark}>
      ${phase === "more" && html`<${Skeleton} rows=${1} />`}
      ${list.ended && list.ids.value.length > 5 && html`<p>${t("list.end")}</p>`}
    </div>
  `;
}
