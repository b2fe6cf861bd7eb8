// A person: the name with the handle, the button that follows, and a row of a list of people.
import { toggleFollow } from "../actions.js";
import { setHide } from "../hides.js";
import { t } from "../i18n/index.js";
import { follow, hidden, myId, person } from "../state.js";
import { html } from "./html.js";
import { Portrait } from "./portrait.js";
import { Words } from "./words.js";

/** @import {Key} from "../i18n/index.js" */
/** @import {Hide, Profile} from "../types.d.ts" */

/** @param {Profile} profile */
export const nameOf = (profile) => profile.displayName || profile.handle;

/** @param {{profile: Profile}} props */
export const Name = ({ profile }) => html`
  <a class="name" href=${`/@${profile.handle}`}>
    <bdi class="name-shown">${nameOf(profile)}</bdi>
    <span class="handle">@${profile.handle}</span>
  </a>
`;

/** @param {{id: string}} props */
export function FollowButton({ id }) {
  const state = follow(id).value;
  const profile = person(id).value;
  if (!state || !profile || id === myId.value) return null;
  const name = nameOf(profile);
  const label = state.following ? t("follow.removeName", { name }) : t("follow.addName", { name });
  return html`
    <button
      type="button"
      class=${state.following ? "button quiet" : "button"}
      aria-label=${label}
      onClick=${() => toggleFollow(id)}
    >
      ${state.following ? t("follow.remove") : t("follow.add")}
    </button>
  `;
}

/** Blocks or mutes, or stops that. @param {{kind: Hide, id: string}} props */
export function HideButton({ kind, id }) {
  const profile = person(id).value;
  if (!profile) return null;
  const on = hidden[kind].value.has(id);
  const [word, named] = HIDES[kind][on ? "stop" : "start"];
  return html`
    <button
      type="button"
      class=${on ? "button" : "button quiet"}
      aria-label=${t(named, { name: nameOf(profile) })}
      onClick=${() => setHide(kind, id, !on)}
    >
      ${t(word)}
    </button>
  `;
}

/** @type {Record<Hide, {start: [Key, Key], stop: [Key, Key]}>} */
const HIDES = {
  block: { start: ["hide.block", "hide.blockName"], stop: ["hide.unblock", "hide.unblockName"] },
  mute: { start: ["hide.mute", "hide.muteName"], stop: ["hide.unmute", "hide.unmuteName"] },
};

/** @param {{id: string, brief?: boolean, button?: any}} props */
export function PersonRow({ id, brief, button }) {
  const profile = person(id).value;
  if (!profile) return null;
  return html`
    <li class="person">
      <a class="portrait-link" href=${`/@${profile.handle}`} tabindex="-1" aria-hidden="true">
        <${Portrait} id=${id} name=${nameOf(profile)} />
      </a>
      <${Name} profile=${profile} />
      ${button ?? html`<${FollowButton} id=${id} />`}
      ${!brief && profile.bio ? html`<${Words} text=${profile.bio} class="bio" />` : null}
    </li>
  `;
}
