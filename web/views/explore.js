// Explore: what everybody writes.
import { useEffect } from "preact/hooks";
import { t } from "../i18n/index.js";
import { everybody } from "../lists.js";
import { arrival } from "../router.js";
import { html } from "../parts/html.js";
import { Head } from "../parts/page.js";
import { PostCard } from "../parts/post.js";
import { Scroll } from "../parts/scroll.js";

export function Explore() {
  const list = everybody();
  useEffect(() => {
    // Back shows what was there; coming anew shows what is new.
    if (list.phase.peek() === "new" || arrival !== "back") void list.load();
  }, [list]);
  const row = (/** @type {string} */ id) => html`<li><${PostCard} id=${id} /></li>`;
  return html`
    <${Head} title=${t("explore.title")} note=${t("explore.text")} />
    <${Scroll} list=${list} row=${row} empty=${html`<p>${t("explore.empty")}</p>`}
      label=${t("explore.title")} />
  `;
}
