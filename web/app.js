// Starts the client: the door for strangers, and for members the rest, which is fetched then.
import { signal } from "@preact/signals";
import { render } from "preact";
import { useLayoutEffect } from "preact/hooks";
import * as i18n from "./i18n/index.js";
import { html } from "./parts/html.js";
import { Notice } from "./parts/notice.js";
import * as router from "./router.js";
import { match } from "./routes.js";
import * as sessions from "./session.js";
import { me, myId, place } from "./state.js";
import * as theme from "./theme.js";
import { Nowhere } from "./views/nowhere.js";
import { Forgot, SignIn, SignUp } from "./views/strangers.js";

/** @import {Route} from "./routes.js" */

/** What members see, once it is here. */
const inside = signal(/** @type {typeof import("./member.js") | null} */ (null));

async function openInside() {
  const member = await import("./member.js");
  if (inside.peek()) return;
  member.start();
  inside.value = member;
}

/** @param {Route} route */
function door(route) {
  switch (route.name) {
    case "home":
    case "signUp":
      return html`<${SignUp} />`;
    case "signIn":
      return html`<${SignIn} />`;
    case "forgot":
      return html`<${Forgot} />`;
    case "nowhere":
      return html`<${Nowhere} />`;
    default:
      return null;
  }
}

function App() {
  const { path, key } = place.value;
  const route = match(path);
  const signedIn = me.value !== null;
  const isDoor = ["signIn", "signUp", "forgot"].includes(route.name);
  const view = signedIn ? null : door(route);
  useLayoutEffect(() => {
    // Whoever is not signed in may not read; whoever is needs no door.
    if (!signedIn && view === null) router.go(router.signInUrl(), true);
    if (signedIn && isDoor) router.go(router.afterSignIn(), true);
    if (signedIn) void openInside();
  });
  const ready = !signedIn || inside.value !== null;
  useLayoutEffect(() => {
    if (ready) router.settle();
  }, [key, ready]);
  if (signedIn) {
    // Another person starts anew: what the pages hold is whose it was.
    return inside.value
      ? html`<${inside.value.Member} key=${myId.value} route=${route} />`
      : null;
  }
  // Whoever begins to fill in a form will be inside soon.
  const warm = () => void import("./member.js");
  return html`<main id="main" tabindex="-1" onFocusIn=${warm}>${view}</main><${Notice} />`;
}

await i18n.start();
theme.start();
sessions.start();
router.start();
const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.textContent = "";
render(html`<${App} />`, root);
