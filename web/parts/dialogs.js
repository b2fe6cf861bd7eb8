// What opens above the page: the compose box, the list of keys, and what else can be done.
import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n/index.js";
import { dialog } from "../state.js";
import { Compose } from "./compose.js";
import { html } from "./html.js";
import { Icon } from "./icon.js";
import { Block, Choices, Report, whose } from "./more.js";

/** @import {Key} from "../i18n/index.js" */
/** @import {Subject} from "./more.js" */

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
    const held = element.current;
    return () => held?.close();
  }, []);
  useEffect(() => {
    // Where the dialog, or its next step, begins.
    /** @type {HTMLElement | null | undefined} */
    const first = element.current?.querySelector("textarea, [data-first=true]");
    first?.focus();
  }, [label]);
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

/** What can be done about a person or a post, step by step. @param {{subject: Subject}} props */
function More({ subject }) {
  const [step, go] = useState(/** @type {"choices" | "block" | "report"} */ ("choices"));
  const name = whose(subject.userId);
  switch (step) {
    case "block":
      return html`<${Dialog} label=${t("hide.blockAsk", { name })}>
        <${Block} userId=${subject.userId} />
      <//>`;
    case "report":
      return html`<${Dialog} label=${t(subject.postId ? "report.post" : "report.person")}>
        <${Report} subject=${subject} />
      <//>`;
    default:
      return html`<${Dialog} label=${t("more.title", { name })}>
        <${Choices} subject=${subject} go=${go} />
      <//>`;
  }
}

export function Dialogs() {
  const open = dialog.value;
  if (open && typeof open === "object") return html`<${More} subject=${open} />`;
  switch (open) {
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
