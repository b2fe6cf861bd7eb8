// Everything that changes and that more than one place knows of. Views are functions of this.
import { computed, signal } from "@preact/signals";

/** @import {Signal} from "@preact/signals" */
/** @import {Session, Profile, Post, FollowState, Entry, Outgoing} from "./types.d.ts" */

/** Who is signed in, with their tokens. @type {Signal<Session | null>} */
export const session = signal(null);
export const me = computed(() => session.value?.user ?? null);
export const myId = computed(() => session.value?.user.userId ?? null);

/** The address that is shown; the key tells visits of one address apart. */
export const place = signal({ path: "/", search: "", key: "" });

/** What is said at the foot of the page, one thing at a time.
 *  @type {Signal<{text: string, requestId?: string, failed?: boolean} | null>} */
export const notice = signal(null);
/** What is said to screen readers alone. */
export const said = signal("");

/** @type {Signal<"off" | "connecting" | "live" | "waiting">} */
export const socket = signal("off");
export const online = signal(true);
/** Milliseconds since 1970, moved on every half minute, so that relative times tick. */
export const now = signal(Date.now());

/** @type {Signal<"ja" | "en">} */
export const language = signal("en");
/** @type {Signal<"auto" | "light" | "dark">} */
export const theme = signal("auto");

/** What is open above the page; of a person, or a post of theirs, what can be done about them.
 *  @type {Signal<"compose" | "keys" | {userId: string, postId?: string} | null>} */
export const dialog = signal(null);
export const draft = signal("");
/** Posts of one's own that the server has not taken yet, newest first. @type {Signal<Outgoing[]>} */
export const outbox = signal([]);

/** Posts that are deleted. @type {Signal<ReadonlySet<string>>} */
export const gone = signal(new Set());

/** Whom one blocks and mutes, as far as known. */
export const hidden = {
  block: signal(/** @type {ReadonlySet<string>} */ (new Set())),
  mute: signal(/** @type {ReadonlySet<string>} */ (new Set())),
};

/** @type {Map<string, Signal<Profile | null>>} */
const people = new Map();
/** @type {Map<string, string>} */
const handles = new Map();
/** @type {Map<string, Signal<Entry | null>>} */
const entries = new Map();
/** @type {Map<string, Signal<FollowState | null>>} */
const follows = new Map();

/**
 * @template T
 * @param {Map<string, Signal<T | null>>} map
 * @param {string} id
 * @returns {Signal<T | null>}
 */
function slot(map, id) {
  let found = map.get(id);
  if (!found) map.set(id, (found = signal(/** @type {T | null} */ (null))));
  return found;
}

/** A person, as far as known. @param {string} id */
export const person = (id) => slot(people, id);
/** A post, as far as known. @param {string} id */
export const entry = (id) => slot(entries, id);
/** How one stands to a person, as far as known. @param {string} id */
export const follow = (id) => slot(follows, id);

/** @param {string} handle */
export const idOf = (handle) => handles.get(handle);

/** @param {Profile} profile */
export function keepPerson(profile) {
  const before = people.get(profile.userId)?.peek();
  if (before && before.updatedAt > profile.updatedAt) return;
  if (before && before.handle !== profile.handle) handles.delete(before.handle);
  handles.set(profile.handle, profile.userId);
  if (!before || before.updatedAt !== profile.updatedAt) person(profile.userId).value = profile;
}

/**
 * Keeps a post; what is not known of its likes leaves what was known.
 * @param {Post} post
 * @param {number | null} likeCount
 * @param {boolean | null} liked
 */
export function keepPost(post, likeCount, liked) {
  const kept = entry(post.postId);
  const before = kept.peek();
  kept.value = {
    post,
    likeCount: before?.busy ? before.likeCount : (likeCount ?? before?.likeCount ?? null),
    liked: before?.busy ? before.liked : (liked ?? before?.liked ?? null),
    busy: before?.busy ?? false,
  };
}

/** Posts of which something is not known: who wrote them, or their likes. */
export const incomplete = () =>
  [...entries.values()].flatMap((kept) => {
    const known = kept.peek();
    if (!known || (known.liked !== null && people.get(known.post.authorId)?.peek())) return [];
    return [known.post];
  });

/** @param {string} postId */
export function forgetPost(postId) {
  if (!gone.peek().has(postId)) gone.value = new Set([...gone.peek(), postId]);
}

/** Forgets all that belongs to whoever was signed in. */
export function reset() {
  people.clear();
  handles.clear();
  entries.clear();
  follows.clear();
  gone.value = new Set();
  hidden.block.value = new Set();
  hidden.mute.value = new Set();
  outbox.value = [];
  draft.value = "";
  dialog.value = null;
}
