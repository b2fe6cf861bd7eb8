// Starts the client, and shows the page of the address.
import { effect } from "@preact/signals";
import { render } from "preact";
import { useLayoutEffect } from "preact/hooks";
import { forgetHome } from "./home.js";
import * as i18n from "./i18n/index.js";
import * as keys from "./keys.js";
import { forgetLists } from "./lists.js";
import * as live from "./live.js";
import { openOutbox } from "./outbox.js";
import { openDraft } from "./parts/compose.js";
import { Frame } from "./parts/frame.js";
import { html } from "./parts/html.js";
import * as router from "./router.js";
import { match } from "./routes.js";
import * as sessions from "./session.js";
import { keepPerson, me, myId, now, place, reset, session } from "./state.js";
import * as theme from "./theme.js";
import { Explore } from "./views/explore.js";
import { Find } from "./views/find.js";
import { Home } from "./views/home.js";
import { Nowhere } from "./views/nowhere.js";
import { PostPage } from "./views/post.js";
import { ProfilePage } from "./views/profile.js";
import { Settings } from "./views/settings.js";
import { SignIn, SignUp } from "./views/strangers.js";

/** @import {Route} from "./routes.js" */

const TICK_MS = 30_000;

/** @param {Route} route */
function stranger(route) {
  switch (route.name) {
    case "home":
    case "signUp":
      return html`<${SignUp} />`;
    case "signIn":
      return html`<${SignIn} />`;
    case "nowhere":
      return html`<${Nowhere} />`;
    default:
      return null;
  }
}

/** @param {Route} route */
function member(route) {
  switch (route.name) {
    case "home":
      return html`<${Home} />`;
    case "explore":
      return html`<${Explore} />`;
    case "find":
      return html`<${Find} />`;
    case "settings":
      return html`<${Settings} />`;
    case "post":
      return html`<${PostPage} key=${route.id} id=${route.id} />`;
    case "profile":
      return html`<${ProfilePage} key=${route.handle} handle=${route.handle} tab=${route.tab} />`;
    default:
      return html`<${Nowhere} />`;
  }
}

function App() {
  const { path, key } = place.value;
  const route = match(path);
  const signedIn = me.value !== null;
  const view = signedIn ? member(route) : stranger(route);
  const isDoor = route.name === "signIn" || route.name === "signUp";
  useLayoutEffect(() => {
    // Whoever is not signed in may not read; whoever is needs no door.
    if (!signedIn && view === null) router.go(router.signInUrl(), true);
    if (signedIn && isDoor) router.go(router.afterSignIn(), true);
  });
  useLayoutEffect(() => {
    if (router.arrival === "start") return;
    scrollTo({ top: router.arrival === "back" ? router.scrollOf(key) : 0, behavior: "instant" });
    // A new page is read from its heading; back goes on where one was.
    const heading = /** @type {HTMLElement | null} */ (document.querySelector("main h1"));
    if (router.arrival === "new") heading?.focus({ preventScroll: true });
  }, [key]);
  return html`<${Frame}>${view}<//>`;
}

/** Another person, another state: nothing of the one before is left. */
function followPerson() {
  let who = myId.peek();
  effect(() => {
    const next = myId.value;
    if (next !== who) {
      reset();
      forgetLists();
      forgetHome();
      who = next;
    }
    if (next) {
      openOutbox();
      openDraft();
    }
  });
  effect(() => {
    const user = session.value?.user;
    if (user) keepPerson(user);
  });
}

i18n.start();
theme.start();
sessions.start();
router.start();
followPerson();
keys.start();
live.start();
setInterval(() => (now.value = Date.now()), TICK_MS);
const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.textContent = "";
render(html`<${App} />`, root);
