// Home: the posts of those one follows, live.
import { useEffect, useRef } from "preact/hooks";
import { gap, home, readNewer, showWaiting, waiting } from "../home.js";
import { t } from "../i18n/index.js";
import { outbox, said } from "../state.js";
import { Compose } from "../parts/compose.js";
import { Suggestions } from "../parts/frame.js";
import { html } from "../parts/html.js";
import { Icon } from "../parts/icon.js";
import { Head } from "../parts/page.js";
import { OutgoingCard, PostCard } from "../parts/post.js";
import { Scroll, inPlace } from "../parts/scroll.js";

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
  // Of a gap only the newest page is known.
  const text = t("home.arrived", { count, more: gap.value !== "none" });
  useEffect(() => {
    said.value = count ? text : "";
  }, [text]);
  if (count === 0) return null;
  return html`
    <div class="arrivals">
      <button type="button" class="pill" onClick=${revealWaiting}>
        <${Icon} name="arrow-up" />${text}
      </button>
    </div>
  `;
}

const AHEAD = "800px 0px";

/** Where posts are missing above: they are read as one scrolls up to it. */
function Gap() {
  const mark = useRef(/** @type {HTMLElement | null} */ (null));
  const state = gap.value;
  useEffect(() => {
    if (!mark.current || state !== "open") return undefined;
    // Whoever stands at the top is writing or has only come: they ask for it.
    const near = (/** @type {IntersectionObserverEntry[]} */ seen) =>
      scrollY > 0 && seen.some((entry) => entry.isIntersecting) && void readNewer(inPlace);
    const watch = new IntersectionObserver(near, { rootMargin: AHEAD });
    watch.observe(mark.current);
    return () => watch.disconnect();
  }, [state]);
  if (state === "none") return null;
  return html`
    <div class="gap" ref=${mark} aria-busy=${state === "reading"}>
      <button type="button" class="action" onClick=${() => readNewer(inPlace)}>
        ${t(state === "failed" ? "home.gapFailed" : "home.gap")}
      </button>
    </div>
  `;
}

export function Home() {
  const row = (/** @type {string} */ id) => html`<li><${PostCard} id=${id} /></li>`;
  const outgoing = outbox.value.map((post) => html`
    <li key=${post.key}><${OutgoingCard} post=${post} /></li>
  `);
  const empty = html`<p>${t("home.empty")}</p>
    <a class="button" href="/find">${t("nav.find")}</a><${Suggestions} />`;
  return html`
    <${Head} title=${t("home.title")} />
    <${Compose} place="page" />
    <${Arrivals} />
    <${Gap} />
    <${Scroll} list=${home} row=${row} empty=${empty} label=${t("home.title")}
      before=${outgoing.length ? outgoing : null} />
  `;
}
