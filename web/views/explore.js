// Explore: what everybody writes.
import { t } from "../i18n/index.js";
import { everybody } from "../lists.js";
import { html } from "../parts/html.js";
import { Head } from "../parts/page.js";
import { PostCard } from "../parts/post.js";
import { Scroll, useFresh } from "../parts/scroll.js";

export function Explore() {
  const list = everybody();
  useFresh(list);
  const row = (/** @type {string} */ id) => html`<li><${PostCard} id=${id} /></li>`;
  return html`
    <${Head} title=${t("explore.title")} note=${t("explore.text")} />
    <${Scroll} list=${list} row=${row} empty=${html`<p>${t("explore.empty")}</p>`}
      label=${t("explore.title")} />
  `;
}
