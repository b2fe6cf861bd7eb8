// Where a post is written: in place at the top of home, and in a dialog everywhere else.
import { effect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../i18n/index.js";
import { isFit, write } from "../outbox.js";
import { dialog, draft, me, myId } from "../state.js";
import * as store from "../store.js";
import { TEXT_MAX, length } from "../text.js";
import { html } from "./html.js";
import { nameOf } from "./person.js";
import { Portrait } from "./portrait.js";

/** From here on the counter shows how much is left. */
const NEAR = 60;

/** Keeps the draft over a reload. @returns {() => void} ends that */
export function openDraft() {
  const writer = myId.peek();
  const key = `mini-sns.draft.${writer}`;
  draft.value = store.read(key) ?? "";
  return effect(() => {
    const text = draft.value;
    // What is cleared for the next person stays kept for this one.
    if (myId.peek() !== writer) return;
    store.write(key, text || null);
  });
}

/** @param {{place: "page" | "dialog", done?: () => void}} props */
export function Compose({ place, done }) {
  const box = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const text = draft.value;
  useEffect(() => {
    // Grows with what is in it.
    const element = box.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);
  const author = me.value;
  if (!author) return null;
  const left = TEXT_MAX - length(text);
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!isFit(draft.peek())) return box.current?.focus();
    write(draft.peek());
    draft.value = "";
    done?.();
  };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
  };
  const id = `compose-${place}`;
  return html`
    <form class="compose" onSubmit=${submit}>
      <${Portrait} id=${author.userId} name=${nameOf(author)} />
      <div class="compose-body">
        <label class="unseen" for=${id}>${t("compose.label")}</label>
        <textarea
          id=${id}
          ref=${box}
          rows=${place === "dialog" ? 5 : 1}
          dir="auto"
          value=${text}
          placeholder=${t("compose.placeholder")}
          aria-describedby=${`${id}-left`}
          onInput=${(/** @type {any} */ event) => (draft.value = event.currentTarget.value)}
          onKeyDown=${pressed}
        ></textarea>
        <div class="compose-foot">
          <span class="hint">${t("compose.hint")}</span>
          <span id=${`${id}-left`} class=${left < 0 ? "left over" : "left"}>
            <span aria-hidden="true">${left <= NEAR ? left : ""}</span>
            <span class="unseen">${t("compose.left", { count: left })}</span>
          </span>
          <button type="submit" class="button strong" disabled=${!isFit(text)}>
            ${t("compose.button")}
          </button>
        </div>
      </div>
    </form>
  `;
}

/** Starts to answer somebody, above what is being read. @param {string} handle */
export function startAnswer(handle) {
  const text = draft.peek();
  if (!text.includes(`@${handle}`)) draft.value = `@${handle} ${text}`;
  dialog.value = "compose";
}

/** Starts to write, wherever one is. */
export function startWriting() {
  const here = document.getElementById("compose-page");
  // On a telephone the box at the top of the page is not shown.
  if (here?.offsetParent) here.focus();
  else dialog.value = "compose";
}
