// A post as a card: who, when, what, and what can be done with it.
import { useState } from "preact/hooks";
import { copyLink, deletePost, toggleLike } from "../actions.js";
import { t } from "../i18n/index.js";
import { discard, retry } from "../outbox.js";
import { go } from "../router.js";
import { entry, gone, language, me, myId, person } from "../state.js";
import { short } from "../time.js";
import { startAnswer } from "./compose.js";
import { html } from "./html.js";
import { Icon } from "./icon.js";
import { MoreButton } from "./more.js";
import { Name, nameOf } from "./person.js";
import { Portrait } from "./portrait.js";
import { Time } from "./time.js";
import { Words } from "./words.js";

/** @import {Entry, Outgoing, Profile} from "../types.d.ts" */

/** @param {MouseEvent} event @param {string} postId */
function openByCard(event, postId) {
  const target = /** @type {Element} */ (event.target);
  if (event.defaultPrevented || target.closest("a, button, form")) return;
  if (String(getSelection()) !== "") return;
  go(`/posts/${postId}`);
}

/** @param {{id: string, whole?: boolean}} props */
export function PostCard({ id, whole }) {
  const known = entry(id).value;
  if (!known || gone.value.has(id)) return null;
  const { post } = known;
  const author = person(post.authorId).value;
  const link = whole
    ? html`<${Time} at=${post.createdAt} />`
    : html`<a class="when" href=${`/posts/${id}`}><${Time} at=${post.createdAt} /></a>`;
  return html`
    <article
      class=${whole ? "post whole" : "post"}
      data-post=${id}
      tabindex=${whole ? undefined : -1}
      aria-labelledby=${`by-${id}`}
      onClick=${whole ? undefined : (/** @type {MouseEvent} */ event) => openByCard(event, id)}
    >
      <${Face} id=${post.authorId} author=${author} />
      <div class="post-body">
        <header id=${`by-${id}`}>
          ${author
            ? html`<${Name} profile=${author} />`
            : html`<span class="away">${t("post.authorAway")}</span>`}
          ${link}
        </header>
        <${Words} text=${post.text} />
        <${Actions} known=${known} />
      </div>
    </article>
  `;
}

/** @param {{id: string, author: Profile | null}} props */
function Face({ id, author }) {
  const drawn = html`<${Portrait} id=${id} name=${author ? nameOf(author) : ""} />`;
  if (!author) return html`<span class="portrait-link">${drawn}</span>`;
  return html`
    <a class="portrait-link" href=${`/@${author.handle}`} tabindex="-1" aria-hidden="true">
      ${drawn}
    </a>
  `;
}

/** @param {{known: Entry}} props */
function Actions({ known }) {
  const [asking, ask] = useState(false);
  const { postId: id, authorId } = known.post;
  const author = person(authorId).value;
  const own = authorId === myId.value;
  if (asking) return html`<${Deletion} id=${id} cancel=${() => ask(false)} />`;
  return html`
    <div class="actions">
      <${Like} known=${known} />
      ${author && !own && html`
        <button type="button" class="action" onClick=${() => startAnswer(author.handle)}>
          <${Icon} name="reply" /><span class="unseen">${t("answer.button")}</span>
        </button>
      `}
      <button type="button" class="action" onClick=${() => copyLink(id)}>
        <${Icon} name="link" /><span class="unseen">${t("link.copy")}</span>
      </button>
      ${!own && html`<${MoreButton} userId=${authorId} postId=${id} />`}
      ${own && html`
        <button type="button" class="action danger" onClick=${() => ask(true)}>
          <${Icon} name="trash-2" /><span class="unseen">${t("delete.button")}</span>
        </button>
      `}
    </div>
  `;
}

/** @param {{known: Entry}} props */
function Like({ known }) {
  const { liked, likeCount } = known;
  if (liked === null) {
    return html`<span class="action away" title=${t("like.away")}>
      <${Icon} name="heart" /><span class="unseen">${t("like.away")}</span>
    </span>`;
  }
  const count = likeCount ? short(likeCount, language.value) : "";
  return html`
    <button
      type="button"
      class=${liked ? "action like liked" : "action like"}
      aria-pressed=${liked}
      onClick=${() => toggleLike(known.post.postId)}
    >
      <${Icon} name="heart" />
      <span class="unseen">${t("like.add")}</span>
      <span class="count">${count}</span>
    </button>
  `;
}

/** Asks once, in place. @param {{id: string, cancel: () => void}} props */
function Deletion({ id, cancel }) {
  const [busy, setBusy] = useState(false);
  const remove = async () => {
    setBusy(true);
    if (!(await deletePost(id))) cancel();
  };
  const focus = (/** @type {HTMLButtonElement | null} */ button) => button?.focus();
  return html`
    <div
      class="asking"
      role="group"
      aria-label=${t("delete.ask")}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        cancel();
      }}
    >
      <span>${t("delete.ask")}</span>
      <button type="button" class="button danger" disabled=${busy} onClick=${remove}>
        ${t("delete.yes")}
      </button>
      <button type="button" class="button quiet" ref=${focus} onClick=${cancel}>
        ${t("delete.no")}
      </button>
    </div>
  `;
}

/** A post of one's own that the server has not taken yet. @param {{post: Outgoing}} props */
export function OutgoingCard({ post }) {
  const author = me.value;
  if (!author) return null;
  const failed = post.state === "failed";
  return html`
    <article class="post outgoing" aria-busy=${!failed}>
      <${Face} id=${author.userId} author=${author} />
      <div class="post-body">
        <header>
          <${Name} profile=${author} />
          <span class="when">
            ${failed ? t("outbox.failed") : html`<${Time} at=${post.createdAt} />`}
          </span>
        </header>
        <${Words} text=${post.text} />
        ${failed
          ? html`
              <div class="asking" role="alert">
                <span>${t(`problem.${post.code}`)}</span>
                <button type="button" class="button" onClick=${() => retry(post.key)}>
                  ${t("outbox.retry")}
                </button>
                <button type="button" class="button quiet" onClick=${() => discard(post.key)}>
                  ${t("outbox.discard")}
                </button>
              </div>
            `
          : html`<div class="actions"><span class="action away">
              <${Icon} name="heart" /><span class="unseen">${t("outbox.sending")}</span>
            </span></div>`}
      </div>
    </article>
  `;
}
