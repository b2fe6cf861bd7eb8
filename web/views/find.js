// Find people: by the beginning of their handle or name.
import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n/index.js";
import { found } from "../lists.js";
import { arrival, go } from "../router.js";
import { place } from "../state.js";
import { Suggestions } from "../parts/frame.js";
import { html } from "../parts/html.js";
import { Icon } from "../parts/icon.js";
import { Head } from "../parts/page.js";
import { PersonRow } from "../parts/person.js";
import { Scroll, useFresh } from "../parts/scroll.js";
import { Empty } from "../parts/states.js";

const PAUSE_MS = 250;

export function Find() {
  const asked = new URLSearchParams(place.value.search).get("q") ?? "";
  const [text, setText] = useState(asked);
  const box = useRef(/** @type {HTMLInputElement | null} */ (null));
  const sent = useRef(asked);
  useEffect(() => {
    if (arrival !== "back") box.current?.focus();
  }, []);
  useEffect(() => {
    const wanted = text.trim().replace(/^@/, "");
    if (wanted === asked) return undefined;
    const url = wanted ? `/find?q=${encodeURIComponent(wanted)}` : "/find";
    const timer = setTimeout(() => {
      sent.current = wanted;
      go(url, true);
    }, PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  useEffect(() => {
    // A link to this page has led elsewhere than what is in the box.
    if (asked === sent.current) return;
    sent.current = asked;
    setText(asked);
  }, [asked]);
  return html`
    <${Head} title=${t("find.title")} />
    <form class="search" role="search" onSubmit=${(/** @type {Event} */ e) => e.preventDefault()}>
      <label class="unseen" for="find">${t("find.label")}</label>
      <${Icon} name="search" />
      <input id="find" type="search" ref=${box} value=${text} dir="auto" autocomplete="off"
        autocapitalize="off" spellcheck=${false} placeholder=${t("find.placeholder")}
        onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)} />
    </form>
    ${asked
      ? html`<${Results} key=${asked} q=${asked} />`
      : html`<${Empty}><p>${t("find.start")}</p><//><${Suggestions} />`}
  `;
}

/** @param {{q: string}} props */
function Results({ q }) {
  const list = found(q);
  useFresh(list);
  const row = (/** @type {string} */ id) => html`<${PersonRow} id=${id} />`;
  return html`<${Scroll} list=${list} row=${row} empty=${html`<p>${t("find.none", { q })}</p>`}
    label=${t("find.title")} />`;
}
