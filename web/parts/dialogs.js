// What opens above the page: the compose box, and the list of keys.
import { useEffect, useRef } from "preact/hooks";
import { t } from "../i18n/index.js";
import { dialog } from "../state.js";
import { Compose } from "./compose.js";
import { html } from "./html.js";
import { Icon } from "./icon.js";

/** @import {Key} from "../i18n/index.js" */

/** @type {[string, Key][]} */
const KEYS = [
  ["j", "keys.next"],
  ["k", "keys.previous"],
  ["Enter", "keys.open"],
  ["l", "keys.like"],
  ["n", "keys.write"],
  [".", "keys.new"],
  ["/", "keys.find"],
  ["g h", "keys.home"],
  ["?", "keys.help"],
  ["Esc", "keys.close"],
];

const close = () => (dialog.value = null);

/** @param {{label: string, children?: any}} props */
function Dialog({ label, children }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    // The browser keeps focus inside, and gives it back to where it came from.
    element.current?.showModal();
    element.current?.querySelector("textarea")?.focus();
    const held = element.current;
    return () => held?.close();
  }, []);
  const clicked = (/** @type {MouseEvent} */ event) => {
    if (event.target === element.current) close();
  };
  return html`
    <dialog ref=${element} aria-label=${label} onClose=${close} onClick=${clicked}>
      <div class="dialog-body">
        <header>
          <h2>${label}</h2>
          <button type="button" class="action" onClick=${close}>
            <${Icon} name="x" /><span class="unseen">${t("close")}</span>
          </button>
        </header>
        ${children}
      </div>
    </dialog>
  `;
}

export function Dialogs() {
  switch (dialog.value) {
    case "compose":
      return html`<${Dialog} label=${t("nav.write")}>
        <${Compose} place="dialog" done=${close} />
      <//>`;
    case "keys":
      return html`<${Dialog} label=${t("keys.title")}>
        <dl class="keys">
          ${KEYS.map(([keys, meaning]) => html`
            <dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</dt>
            <dd>${t(meaning)}</dd>
          `)}
        </dl>
      <//>`;
    default:
      return null;
  }
}
