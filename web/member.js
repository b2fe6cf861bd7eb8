// What members see: every page inside the frame, kept live.
import { effect } from "@preact/signals";
import { forgetHome } from "./home.js";
import * as keys from "./keys.js";
import { forgetLists, learnMissing } from "./lists.js";
import * as live from "./live.js";
import * as outgoing from "./outbox.js";
import { openDraft } from "./parts/compose.js";
import { Frame } from "./parts/frame.js";
import { html } from "./parts/html.js";
import { keepPerson, me, myId, now, online, reset, session } from "./state.js";
import { Explore } from "./views/explore.js";
import { Find } from "./views/find.js";
import { Home } from "./views/home.js";
import { Nowhere } from "./views/nowhere.js";
import { PostPage } from "./views/post.js";
import { ProfilePage } from "./views/profile.js";
import { Settings } from "./views/settings.js";

/** @import {Route} from "./routes.js" */

const TICK_MS = 30_000;

/** @param {Route} route */
function page(route) {
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
    case "nowhere":
      return html`<${Nowhere} />`;
    default:
      return null;
  }
}

/** @param {{route: Route}} props */
export const Member = ({ route }) => html`<${Frame}>${page(route)}<//>`;

/** Another person, another state: nothing of the one before is left. */
function followPerson() {
  let who = myId.peek();
  let closeDraft = () => {};
  effect(() => {
    const next = myId.value;
    closeDraft();
    closeDraft = () => {};
    if (next !== who) {
      reset();
      forgetLists();
      forgetHome();
      who = next;
    }
    if (next) {
      outgoing.openOutbox();
      closeDraft = openDraft();
    }
  });
  effect(() => {
    const user = session.value?.user;
    if (user) keepPerson(user);
  });
}

export function start() {
  followPerson();
  keys.start();
  outgoing.start();
  live.start();
  setInterval(() => {
    now.value = Date.now();
    if (me.peek() && online.peek()) void learnMissing();
  }, TICK_MS);
}
