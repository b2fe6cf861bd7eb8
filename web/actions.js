// What a person does to posts and people: shown at once, told to the server, undone where refused.
import { account, posts, users } from "./api.js";
import { catchUp, dropAuthor, remove } from "./home.js";
import { t } from "./i18n/index.js";
import { entry, follow, notice } from "./state.js";
import { asProblem } from "./wire.js";

/** Time that a follow's posts need to come into the timeline. */
const BACKFILL_MS = 600;

/** @param {unknown} error @param {string} what  a sentence on what did not happen */
function refuse(error, what) {
  const problem = asProblem(error);
  const text = `${what} ${t(`problem.${problem.code}`)}`;
  notice.value = { text, requestId: problem.requestId, failed: true };
}

/** @param {string} postId */
export async function toggleLike(postId) {
  const slot = entry(postId);
  const before = slot.peek();
  if (!before || before.liked === null) return;
  const liked = !before.liked;
  const likeCount = before.likeCount === null ? null : before.likeCount + (liked ? 1 : -1);
  slot.value = { ...before, liked, likeCount, busy: true };
  // A request for this post is under way: it looks again when it is answered.
  if (before.busy) return;
  let settled = { liked: before.liked, likeCount: before.likeCount };
  try {
    for (;;) {
      const wanted = /** @type {boolean} */ (slot.peek()?.liked);
      if (wanted === settled.liked) break;
      settled = await posts.setLike(postId, wanted);
    }
  } catch (error) {
    refuse(error, t("like.refused"));
  }
  const after = slot.peek();
  if (after) slot.value = { ...after, ...settled, busy: false };
}

/** @param {string} userId */
export async function toggleFollow(userId) {
  const slot = follow(userId);
  const before = slot.peek();
  if (!before) return;
  const following = !before.following;
  const followerCount = before.followerCount + (following ? 1 : -1);
  slot.value = { ...before, following, followerCount, busy: true };
  if (before.busy) return;
  let settled = { following: before.following };
  let { followerCount: count } = before;
  try {
    for (;;) {
      const wanted = /** @type {boolean} */ (slot.peek()?.following);
      if (wanted === settled.following) break;
      const answer = await users.setFollow(userId, wanted);
      if (answer.following !== settled.following) count += answer.following ? 1 : -1;
      settled = answer;
    }
  } catch (error) {
    refuse(error, t("follow.refused"));
  }
  const after = slot.peek();
  if (after) slot.value = { ...after, ...settled, followerCount: count, busy: false };
  if (settled.following === before.following) return;
  if (settled.following) setTimeout(() => void catchUp(), BACKFILL_MS);
  else dropAuthor(userId);
}

/** @param {string} postId @returns {Promise<boolean>} */
export async function deletePost(postId) {
  try {
    await posts.remove(postId);
  } catch (error) {
    const problem = asProblem(error);
    if (problem.status !== 404) {
      refuse(error, t("delete.refused"));
      return false;
    }
  }
  remove(postId);
  notice.value = { text: t("delete.done") };
  return true;
}

/** @param {string} postId */
export async function copyLink(postId) {
  const url = new URL(`/posts/${postId}`, location.href).href;
  try {
    await navigator.clipboard.writeText(url);
    notice.value = { text: t("link.copied") };
  } catch {
    // Over plain HTTP there is no clipboard: the address itself is shown, to be copied by hand.
    notice.value = { text: url };
  }
}

/** @param {boolean} everywhere */
export async function signOut(everywhere) {
  try {
    await account.signOut(everywhere);
  } catch (error) {
    refuse(error, t("signOut.refused"));
  }
}
