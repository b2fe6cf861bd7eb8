// Home: the posts of those one follows, live.
import { useEffect } from "preact/hooks";
import { home, showWaiting, waiting } from "../home.js";
import { t } from "../i18n/index.js";
import { outbox, said } from "../state.js";
import { Compose } from "../parts/compose.js";
import { Suggestions } from "../parts/frame.js";
import { html } from "../parts/html.js";
import { Icon } from "../parts/icon.js";
import { Head } from "../parts/page.js";
import { OutgoingCard, PostCard } from "../parts/post.js";
import { Scroll } from "../parts/scroll.js";

export function revealWaiting() {
  const first = showWaiting();
  if (!first) return;
  scrollTo({ top: 0 });
  requestAnimationFrame(() => {
    /** @type {HTMLElement | null} */ (document.querySelector(`[data-post="${first}"]`))?.focus({
      preventScroll: true,
    });
  });
}

function Arrivals() {
  const count = waiting.value.length;
  useEffect(() => {
    said.value = count ? t("home.arrived", { count }) : "";
  }, [count]);
  if (count === 0) return null;
  return html`
    <div class="arrivals">
      <button type="button" class="pill" onClick=${revealWaiting}>
        <${Icon} name="arrow-up" />${t("home.arrived", { count })}
      </button>
    </div>
  `;
}

export function Home() {
  const row = (/** @type {string} */ id) => html`<li><${PostCard} id=${id} /></li>`;
  const outgoing = outbox.value.map((post) => html`
    <li key=${post.key}><${OutgoingCard} post=${post} /></li>
  `);
  const empty = html`<p>${t("home.empty")}</p><${Suggestions} />`;
  return html`
    <${Head} title=${t("home.title")} />
    <${Compose} place="page" />
    <${Arrivals} />
    <${Scroll} list=${home} row=${row} empty=${empty} label=${t("home.title")}
      before=${outgoing.length ? outgoing : null} />
  `;
}
