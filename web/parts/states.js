// What a page shows while there is nothing to show: loading, empty, failed, ended.
import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n/index.js";
import { html } from "./html.js";
import { Icon } from "./icon.js";

/** @import {Problem} from "../wire.js" */

const PATIENCE_MS = 300;

/** Grey lines where posts will be, once it takes long enough to be noticed. */
export function Skeleton({ rows = 4 }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, []);
  return html`
    <div class=${late ? "skeleton" : "skeleton early"} role="status">
      <span class="unseen">${late ? t("list.loading") : ""}</span>
      ${Array.from({ length: rows }, () => html`
        <div class="post" aria-hidden="true">
          <span class="bone round"></span>
          <div class="post-body"><span class="bone short"></span><span class="bone"></span><span
            class="bone half"
          ></span></div>
        </div>
      `)}
    </div>
  `;
}

/** @param {{children?: any}} props */
export const Empty = ({ children }) => html`<div class="empty">${children}</div>`;

/** @param {{problem: Problem | null, again?: () => void}} props */
export function Failed({ problem, again }) {
  return html`
    <div class="failed" role="alert">
      <p><${Icon} name="circle-alert" /> ${t("list.failed")}
        ${" "}${problem ? t(`problem.${problem.code}`) : ""}</p>
      ${again && html`<button type="button" class="button" onClick=${again}>${t("list.retry")}</button>`}
      <${Details} id=${problem?.requestId} />
    </div>
  `;
}

/** @param {{id?: string}} props */
export function Details({ id }) {
  if (!id) return null;
  return html`<details><summary>${t("details")}</summary><code>${t("details.id", { id })}</code></details>`;
}
