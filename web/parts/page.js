// The head of a page: its title, and the way back.
import { useEffect } from "preact/hooks";
import { t } from "../i18n/index.js";
import { html } from "./html.js";
import { Icon } from "./icon.js";

/** @param {{title: string, note?: string, back?: boolean, children?: any}} props */
export function Head({ title, note, back, children }) {
  useEffect(() => {
    document.title = `${title} · Mini-SNS`;
  }, [title]);
  return html`
    <header class="head">
      ${back && html`
        <button type="button" class="action" onClick=${() => history.back()}>
          <${Icon} name="arrow-left" /><span class="unseen">${t("nav.back")}</span>
        </button>
      `}
      <div>
        <h1 tabindex="-1"><bdi>${title}</bdi></h1>
        ${note && html`<p>${note}</p>`}
      </div>
      ${children}
    </header>
  `;
}
