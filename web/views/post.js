// One post, and who likes it.
import { useEffect, useState } from "preact/hooks";
import { posts } from "../api.js";
import { t } from "../i18n/index.js";
import { keepPosts, likersOf } from "../lists.js";
import { entry, gone, hidden, language } from "../state.js";
import { short } from "../time.js";
import { asProblem } from "../wire.js";
import { html } from "../parts/html.js";
import { Head } from "../parts/page.js";
import { PersonRow } from "../parts/person.js";
import { PostCard } from "../parts/post.js";
import { Scroll } from "../parts/scroll.js";
import { Empty, Failed, Skeleton } from "../parts/states.js";

/** @import {Problem} from "../wire.js" */

/** @param {{id: string}} props */
export function PostPage({ id }) {
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const [turn, setTurn] = useState(0);
  const known = entry(id).value;
  const deleted = gone.value.has(id);
  const list = likersOf(id);
  useEffect(() => {
    let current = true;
    setProblem(null);
    posts.get(id).then(
      async (post) => {
        await keepPosts([post]);
        if (current) await list.load();
      },
      (error) => current && setProblem(asProblem(error)),
    );
    return () => (current = false);
  }, [id, turn]);
  const head = html`<${Head} title=${t("post.title")} back />`;
  if (deleted || problem?.status === 404) {
    return html`${head}<${Empty}><p>${t(deleted ? "post.deleted" : "post.unknown")}</p><//>`;
  }
  if (!known) {
    return problem
      ? html`${head}<${Failed} problem=${problem} again=${() => setTurn(turn + 1)} />`
      : html`${head}<${Skeleton} rows=${1} />`;
  }
  if (hidden.block.value.has(known.post.authorId)) {
    return html`${head}<${Empty}><p>${t("post.hidden")}</p><//>`;
  }
  const count = known.likeCount;
  const row = (/** @type {string} */ userId) => html`<${PersonRow} id=${userId} />`;
  return html`
    ${head}
    <${PostCard} id=${id} whole />
    <section class="likers" aria-labelledby="likers">
      <h2 id="likers">
        ${count ? t("like.count", { count: short(count, language.value), number: count })
          : t("post.likers")}
      </h2>
      <${Scroll} list=${list} row=${row} empty=${html`<p>${t("post.noLikers")}</p>`}
        label=${t("post.likers")} />
    </section>
  `;
}
