// The frame of every page: where one can go, what is said, and how the connection is.
import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n/index.js";
import { waiting } from "../home.js";
import { everybody, learnFollows } from "../lists.js";
import { match } from "../routes.js";
import { entry, follow, hidden, me, myId, online, place, said, socket } from "../state.js";
import { startWriting } from "./compose.js";
import { Dialogs } from "./dialogs.js";
import { html } from "./html.js";
import { Icon, Mark } from "./icon.js";
import { Notice } from "./notice.js";
import { PersonRow, nameOf } from "./person.js";
import { Portrait } from "./portrait.js";

/** Time that a lost connection may come back in without a word. */
const QUIET_MS = 2500;

/** To the content, without another address for it. @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

/** @param {{children?: any}} props */
export function Frame({ children }) {
  return html`
    <a class="skip" href="#main" onClick=${skip}>${t("skip")}</a>
    <${Connection} />
    <div class="frame">
      <${Rail} />
      <main id="main" tabindex="-1">${children}</main>
      <${Side} />
    </div>
    <${Dialogs} />
    <${Notice} />
    <div class="unseen" role="status" aria-live="polite">${said.value}</div>
  `;
}

function Rail() {
  const user = me.value;
  const route = match(place.value.path);
  if (!user) return null;
  const own = route.name === "profile" && route.handle === user.handle;
  const items = [
    { url: "/", icon: "house", label: t("nav.home"), here: route.name === "home" },
    { url: "/explore", icon: "compass", label: t("nav.explore"), here: route.name === "explore" },
    { url: "/find", icon: "search", label: t("nav.find"), here: route.name === "find" },
    { url: `/@${user.handle}`, icon: "user", label: t("nav.profile"), here: own },
    { url: "/settings", icon: "settings", label: t("nav.settings"), here: route.name === "settings" },
  ];
  return html`
    <header class="rail">
      <a class="brand" href="/"><${Mark} /><span>Mini-SNS</span></a>
      <nav aria-label=${t("nav.main")}>
        ${items.map(({ url, icon, label, here }) => html`
          <a class="nav" href=${url} title=${label} aria-current=${here ? "page" : undefined}>
            <span class="nav-icon">
              <${Icon} name=${icon} />
              ${icon === "house" && waiting.value.length > 0 && html`<span class="spot"></span>`}
            </span>
            <span class="nav-word">${label}</span>
          </a>
        `)}
      </nav>
      <button type="button" class="button strong write" onClick=${startWriting}>
        <${Icon} name="pen-line" /><span class="nav-word">${t("nav.write")}</span>
      </button>
      <a class="self" href=${`/@${user.handle}`}>
        <${Portrait} id=${user.userId} name=${nameOf(user)} />
        <span class="name">
          <bdi class="name-shown">${nameOf(user)}</bdi>
          <span class="handle">@${user.handle}</span>
        </span>
      </a>
    </header>
  `;
}

/** People who wrote lately and whom one does not follow. */
export function Suggestions() {
  const list = everybody();
  useEffect(() => {
    if (list.phase.peek() === "new") void list.load();
  }, [list]);
  const authors = list.ids.value.map((id) => entry(id).value?.post.authorId ?? "");
  const others = [...new Set(authors)].filter((id) => id && id !== myId.value).slice(0, 12);
  const [shown, setShown] = useState(/** @type {string[]} */ ([]));
  useEffect(() => {
    let current = true;
    // Those who are followed from here stay until one comes back: nothing jumps away.
    void learnFollows(others).then(() => {
      if (current) setShown(others.filter((id) => follow(id).peek()?.following === false).slice(0, 4));
    });
    return () => (current = false);
  }, [others.join()]);
  const open = shown.filter((id) => !hidden.block.value.has(id));
  if (open.length === 0) return null;
  return html`
    <section class="suggestions" aria-label=${t("suggest.title")}>
      <h2>${t("suggest.title")}</h2>
      <ul>${open.map((id) => html`<${PersonRow} key=${id} id=${id} brief />`)}</ul>
    </section>
  `;
}

/** Where the style has room for a side. Elsewhere nothing is asked for it. */
const roomy = matchMedia("(min-width: 1100px)");

function Side() {
  const [wide, setWide] = useState(roomy.matches);
  useEffect(() => {
    const changed = () => setWide(roomy.matches);
    roomy.addEventListener("change", changed);
    return () => roomy.removeEventListener("change", changed);
  }, []);
  return wide ? html`<aside class="side"><${Suggestions} /></aside>` : null;
}

function Connection() {
  const lost = socket.value === "waiting";
  const [late, setLate] = useState(false);
  useEffect(() => {
    setLate(false);
    if (!lost) return undefined;
    const timer = setTimeout(() => setLate(true), QUIET_MS);
    return () => clearTimeout(timer);
  }, [lost]);
  const text = !online.value ? t("state.offline") : lost && late ? t("state.waiting") : "";
  return html`<div class="connection" role="status">${text && html`<p>${text}</p>`}</div>`;
}
