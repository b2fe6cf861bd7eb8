// A time that ticks, with the exact one on hover and for screen readers.
import { language, now } from "../state.js";
import { ago, exactly } from "../time.js";
import { html } from "./html.js";

/** @param {{at: string}} props */
export function Time({ at }) {
  const exact = exactly(at, language.value);
  return html`<time datetime=${at} title=${exact}>
    <span aria-hidden="true">${ago(at, now.value, language.value)}</span>
    <span class="unseen">${exact}</span>
  </time>`;
}
