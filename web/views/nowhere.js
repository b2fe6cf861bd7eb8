// An address that leads nowhere.
import { t } from "../i18n/index.js";
import { html } from "../parts/html.js";
import { Head } from "../parts/page.js";
import { Empty } from "../parts/states.js";

export const Nowhere = () => html`
  <${Head} title=${t("nowhere.title")} />
  <${Empty}><p>${t("nowhere.text")}</p><a class="button" href="/">${t("nowhere.home")}</a><//>
`;
