// A person: who they are, what they wrote, who follows them and whom they follow.
import { useEffect, useState } from "preact/hooks";
import { users } from "../api.js";
import { learnHides } from "../hides.js";
import { t } from "../i18n/index.js";
import { around, learnFollow, learnFollows, postsOf } from "../lists.js";
import { follow, hidden, idOf, keepPerson, language, myId, person } from "../state.js";
import { month, short } from "../time.js";
import { asProblem } from "../wire.js";
import { html } from "../parts/html.js";
import { MoreButton } from "../parts/more.js";
import { Head } from "../parts/page.js";
import { FollowButton, HideButton, PersonRow, nameOf } from "../parts/person.js";
import { Portrait } from "../parts/portrait.js";
import { PostCard } from "../parts/post.js";
import { Scroll, useFresh } from "../parts/scroll.js";
import { Empty, Failed, Skeleton } from "../parts/states.js";
import { Words } from "../parts/words.js";

/** @import {Problem} from "../wire.js" */
/** @import {Profile} from "../types.d.ts" */

/** @param {{handle: string, tab: "posts" | "followers" | "following"}} props */
export function ProfilePage({ handle, tab }) {
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const [turn, setTurn] = useState(0);
  const [id, setId] = useState(idOf(handle));
  useEffect(() => {
    let current = true;
    setProblem(null);
    users.byHandle(handle).then(
      (profile) => {
        keepPerson(profile);
        if (!current) return;
        setId(profile.userId);
        // Counts change while one looks elsewhere.
        void learnFollow(profile.userId);
        void learnHides();
      },
      (error) => current && setProblem(asProblem(error)),
    );
    return () => (current = false);
  }, [handle, turn]);
  const profile = id ? person(id).value : null;
  if (problem?.status === 404) {
    return html`<${Head} title=${`@${handle}`} back /><${Empty}><p>${t("profile.unknown")}</p><//>`;
  }
  if (!profile) {
    return html`
      <${Head} title=${`@${handle}`} back />
      ${problem
        ? html`<${Failed} problem=${problem} again=${() => setTurn(turn + 1)} />`
        : html`<${Skeleton} />`}
    `;
  }
  return html`
    <${Head} title=${nameOf(profile)} back />
    <${About} profile=${profile} />
    <${Tabs} handle=${profile.handle} tab=${tab} />
    ${tab === "posts"
      ? html`<${Posts} key=${`posts ${hidden.block.value.has(profile.userId)}`} id=${profile.userId} />`
      : html`<${People} key=${tab} id=${profile.userId} side=${tab} />`}
  `;
}

/** @param {{profile: Profile}} props */
function About({ profile }) {
  const id = profile.userId;
  const state = follow(id).value;
  const blocked = hidden.block.value.has(id);
  const count = (/** @type {number | undefined} */ number) =>
    number === undefined ? "–" : short(number, language.value);
  return html`
    <section class="about" aria-label=${nameOf(profile)}>
      <div class="about-top">
        <${Portrait} id=${id} name=${nameOf(profile)} size="large" />
        ${id === myId.value
          ? html`<a class="button quiet" href="/settings">${t("profile.edit")}</a>`
          : html`<div class="about-buttons">
              ${blocked ? html`<${HideButton} kind="block" id=${id} />` : html`<${FollowButton} id=${id} />`}
              <${MoreButton} userId=${id} />
            </div>`}
      </div>
      <p class="about-name"><bdi>${nameOf(profile)}</bdi></p>
      <p class="about-handle">
        @${profile.handle}
        ${state?.followedBy && html`<span class="badge">${t("profile.followsYou")}</span>`}
        ${blocked && html`<span class="badge">${t("profile.blocked")}</span>`}
        ${hidden.mute.value.has(id) && html`<span class="badge">${t("profile.muted")}</span>`}
      </p>
      ${profile.bio && html`<${Words} text=${profile.bio} />`}
      <p class="about-facts">
        <a href=${`/@${profile.handle}/following`}>
          <b>${count(state?.followingCount)}</b> ${t("profile.following")}
        </a>
        <a href=${`/@${profile.handle}/followers`}>
          <b>${count(state?.followerCount)}</b>
          ${" "}${t("profile.followers", { count: state?.followerCount ?? 0 })}
        </a>
        <span>${t("profile.since", { month: month(profile.createdAt, language.value) })}</span>
      </p>
    </section>
  `;
}

/** @param {{handle: string, tab: string}} props */
function Tabs({ handle, tab }) {
  const tabs = [
    ["posts", `/@${handle}`, t("profile.posts")],
    ["following", `/@${handle}/following`, t("profile.followingTab")],
    ["followers", `/@${handle}/followers`, t("profile.followersTab")],
  ];
  return html`
    <nav class="tabs" aria-label=${t("profile.tabs")}>
      ${tabs.map(([name, url, label]) => html`
        <a href=${url} aria-current=${name === tab ? "page" : undefined}>${label}</a>
      `)}
    </nav>
  `;
}

/** @param {{id: string}} props */
function Posts({ id }) {
  const list = postsOf(id);
  useFresh(list);
  const row = (/** @type {string} */ postId) => html`<li><${PostCard} id=${postId} /></li>`;
  const none = t(hidden.block.value.has(id) ? "profile.blockedText" : "profile.noPosts");
  return html`<${Scroll} list=${list} row=${row} empty=${html`<p>${none}</p>`}
    label=${t("profile.posts")} />`;
}

/** @param {{id: string, side: "followers" | "following"}} props */
function People({ id, side }) {
  const list = around(id, side);
  useFresh(list);
  useEffect(() => {
    void learnFollows(list.ids.peek());
  }, [list]);
  const none = t(side === "followers" ? "profile.noFollowers" : "profile.noFollowing");
  const row = (/** @type {string} */ userId) => html`<${PersonRow} id=${userId} />`;
  return html`<${Scroll} list=${list} row=${row} empty=${html`<p>${none}</p>`}
    label=${t(side === "followers" ? "profile.followersTab" : "profile.followingTab")} />`;
}
