// What is said at the foot of the page, one thing at a time.
import { useEffect } from "preact/hooks";
import { t } from "../i18n/index.js";
import { notice } from "../state.js";
import { html } from "./html.js";
import { Icon } from "./icon.js";
import { Details } from "./states.js";

const NOTICE_MS = 6000;

export function Notice() {
  const told = notice.value;
  useEffect(() => {
    if (!told) return undefined;
    const timer = setTimeout(() => (notice.value = null), NOTICE_MS);
    return () => clearTimeout(timer);
  }, [told]);
  return html`
    <div class="notices" role=${told?.failed ? "alert" : "status"}>
      ${told && html`
        <div class="notice">
          <span>${told.text}</span>
          <${Details} id=${told.requestId} />
          <button type="button" class="action" onClick=${() => (notice.value = null)}>
            <${Icon} name="x" /><span class="unseen">${t("close")}</span>
          </button>
        </div>
      `}
    </div>
  `;
}
