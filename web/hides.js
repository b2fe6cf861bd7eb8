// Whom one blocks or mutes: learnt once, changed by oneself.
import { users } from "./api.js";
import { catchUp, dropAuthor } from "./home.js";
import { t } from "./i18n/index.js";
import { dropFromLists, forgetPostsOf, learnFollow } from "./lists.js";
import { hidden, myId, notice } from "./state.js";
import { asProblem } from "./wire.js";

/** @import {Hide} from "./types.d.ts" */

/** Whom the sets are about. @type {string | null} */
let learnt = null;

/** @param {Hide} kind @param {(ids: Set<string>) => void} change */
function change(kind, change) {
  const ids = new Set(hidden[kind].peek());
  change(ids);
  hidden[kind].value = ids;
}

/** Reads all of them, unless that has been done. */
export async function learnHides() {
  const who = myId.peek();
  if (!who || learnt === who) return;
  learnt = who;
  const all = async (/** @type {Hide} */ kind) => {
    let cursor = null;
    do {
      const page = await users.hidden(kind, cursor, 100);
      if (myId.peek() !== who) return;
      change(kind, (ids) => page.items.forEach((item) => ids.add(item.user.userId)));
      cursor = page.nextCursor ?? null;
    } while (cursor);
  };
  // What is not known now is asked for the next time.
  await Promise.all([all("block"), all("mute")]).catch(() => (learnt = null));
}

/**
 * Blocks or mutes somebody, or stops that.
 * @param {Hide} kind @param {string} id @param {boolean} on @returns {Promise<boolean>}
 */
export async function setHide(kind, id, on) {
  try {
    await users.setHide(kind, id, on);
  } catch (error) {
    const problem = asProblem(error);
    const text = `${t("follow.refused")} ${t(`problem.${problem.code}`)}`;
    notice.value = { text, requestId: problem.requestId, failed: true };
    return false;
  }
  change(kind, (all) => (on ? all.add(id) : all.delete(id)));
  if (on) dropAuthor(id);
  else if (kind === "mute") void catchUp();
  if (kind === "block") {
    if (on) dropFromLists(id);
    else forgetPostsOf(id);
    // The follows between the two have ended.
    void learnFollow(id);
  }
  return true;
}
