// The shapes that the client works with: those of the API come from the OpenAPI document.
import type { Schemas } from "./tools/openapi.d.ts";

export type Profile = Schemas["Profile"];
export type OwnProfile = Schemas["OwnProfile"];
export type Post = Schemas["Post"];
export type TimelineItem = Schemas["TimelineItem"];
export type LikeState = Schemas["Liked"];
export type Liker = Schemas["Page_Liker"]["items"][number];
export type FollowEntry = Schemas["FollowEntry"];
/** How one hides somebody from oneself. */
export type Hide = "block" | "mute";
export type PostLikes = Schemas["PostLikes"];
export type ProblemBody = Schemas["Problem"];
export type Tokens = Schemas["Session"];

export interface Page<T> {
  items: T[];
  nextCursor?: string | null;
  prevCursor?: string | null;
}

/** Who is signed in, as the browser keeps it. */
export interface Session {
  user: OwnProfile;
  accessToken: string;
  refreshToken: string;
  /** Milliseconds since 1970. */
  expiresAt: number;
}

/** A post with its likes, which are not known while their service does not answer. */
export interface Entry {
  post: Post;
  likeCount: number | null;
  liked: boolean | null;
  /** A change is under way. */
  busy: boolean;
}

export type FollowState = Schemas["FollowState"] & { busy?: boolean };

/** A post that the server has not taken yet. */
export interface Outgoing {
  key: string;
  text: string;
  createdAt: string;
  state: "sending" | "failed";
  /** Why it failed. */
  code?: string;
}
