// The address bar: links inside the client, back and forward, and the scroll place of each visit.
import { after } from "./routes.js";
import { place } from "./state.js";

/** Where each visit was scrolled to, by its key. @type {Record<string, number>} */
let scrolls = {};
const SCROLLS = "mini-sns.scrolls";

const newKey = () => Math.random().toString(36).slice(2, 10);

/** How the last change of place came about. */
export let arrival = /** @type {"start" | "new" | "back"} */ ("start");

function show() {
  const { pathname, search } = location;
  place.value = { path: pathname, search, key: history.state?.key ?? "" };
}

function remember() {
  scrolls[place.peek().key] = scrollY;
}

/** @param {string} url @param {boolean} [replace] */
export function go(url, replace = false) {
  const same = url === location.pathname + location.search;
  if (same && !replace) return scrollTo({ top: 0 });
  remember();
  arrival = "new";
  if (replace) history.replaceState({ key: newKey() }, "", url);
  else history.pushState({ key: newKey() }, "", url);
  show();
}

/** The place that signing in leads to. */
export const afterSignIn = () => after(new URLSearchParams(location.search).get("to"));

/** The way to sign in and come back here. */
export function signInUrl() {
  const here = place.peek().path + place.peek().search;
  return here === "/" ? "/sign-in" : `/sign-in?to=${encodeURIComponent(here)}`;
}

/** @param {MouseEvent} event */
function clicked(event) {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (!link || link.target || link.hasAttribute("download")) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || /^\/(docs|openapi\.json)/.test(url.pathname)) return;
  if (url.hash && url.pathname === location.pathname) return;
  event.preventDefault();
  go(url.pathname + url.search);
}

export function start() {
  history.scrollRestoration = "manual";
  try {
    scrolls = JSON.parse(sessionStorage.getItem(SCROLLS) ?? "{}");
  } catch {
    scrolls = {};
  }
  if (!history.state?.key) history.replaceState({ key: newKey() }, "");
  show();
  document.addEventListener("click", clicked);
  addEventListener("popstate", () => {
    remember();
    arrival = "back";
    show();
  });
  addEventListener("pagehide", () => {
    remember();
    try {
      sessionStorage.setItem(SCROLLS, JSON.stringify(scrolls));
    } catch {
      // A browser that keeps nothing begins at the top.
    }
  });
}

/** The page of this visit is on the screen: back goes on where one was, a new one from its top. */
export function settle() {
  if (arrival === "start") return;
  const top = arrival === "back" ? (scrolls[place.peek().key] ?? 0) : 0;
  scrollTo({ top, behavior: "instant" });
  // A new page is read from its heading.
  if (arrival === "new") {
    /** @type {HTMLElement | null} */ (document.querySelector("main h1"))?.focus({
      preventScroll: true,
    });
  }
}
