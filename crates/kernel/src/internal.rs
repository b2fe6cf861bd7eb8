//! [`Peers`](crate::peers::Peers) on the wire: what a process asks another at `/internal/*`, so
//! that the half that asks and the half that answers cannot drift apart.
//!
//! Each read is a POST with a JSON body; the answer is the JSON of what the seam returns. Between
//! functions of Lambda the same goes in an [`Invocation`] and a [`Reply`].

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{PostId, UserId};

/// A service that others read from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Service {
    /// Profiles and sessions.
    User,
    /// Posts.
    Post,
    /// Follows and likes.
    Social,
}

impl Service {
    /// Every service that others read from.
    pub const ALL: [Self; 3] = [Self::User, Self::Post, Self::Social];

    /// The service's name, which is also the audience of tokens for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Post => "post",
            Self::Social => "social",
        }
    }
}

/// Profiles by id, from the user service: [`Ids`] of people.
pub const PROFILES: &str = "/internal/profiles";
/// Which sessions are open, from the user service: [`Ids`] that are
/// [`SessionName`](crate::identity::session::SessionName)s.
pub const SESSIONS_OPEN: &str = "/internal/sessions/open";
/// Posts by id, from the post service: [`Ids`] of posts.
pub const POSTS: &str = "/internal/posts";
/// Which posts are there, from the post service: [`Ids`] of posts.
pub const POSTS_EXIST: &str = "/internal/posts/exist";
/// An author's newest posts, from the post service: [`Newest`].
pub const POSTS_NEWEST: &str = "/internal/posts/newest";
/// Like counts, from the social service: [`Ids`] of posts.
pub const LIKE_COUNTS: &str = "/internal/likes/counts";
/// What a viewer likes, mutes, and is kept apart from, from the social service: [`View`].
pub const VIEWED: &str = "/internal/viewed";
/// A page of followers, from the social service: [`Edges`].
pub const FOLLOWERS: &str = "/internal/followers";
/// A page of those followed, from the social service: [`Edges`].
pub const FOLLOWING: &str = "/internal/following";

/// People in a page of followers or followed, at most.
pub const EDGES_MAX: usize = 1000;
/// Bytes of a shared secret, at least: as many as the hash that it keys.
pub const SECRET_MIN_BYTES: usize = 32;
/// How long a service token is good, in seconds.
pub const TOKEN_SECS: i64 = 60;
/// The `token_use` of service tokens; users' tokens have another.
pub const TOKEN_USE: &str = "service";

/// A shared secret is too short to keep anybody out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a shared secret has at least {SECRET_MIN_BYTES} bytes")]
pub struct WeakSecret;

/// The secret, unless it is weak.
pub fn strong(secret: &[u8]) -> Result<&[u8], WeakSecret> {
    if secret.len() < SECRET_MIN_BYTES { Err(WeakSecret) } else { Ok(secret) }
}

/// The claims of a service token: a JWT (HS256) over the secret that the processes share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The name of the service that is asked.
    pub aud: String,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// Always [`TOKEN_USE`].
    pub token_use: String,
}

/// The version of [`Invocation`] and [`Reply`]. A function takes none but its own: a change that
/// the other half would misread is a new version.
pub const INVOCATION_VERSION: u32 = 1;

/// A read as the event with which a function invokes another. API Gateway's events have no field
/// `internal`, and nothing that people send makes one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invocation {
    /// Always [`INVOCATION_VERSION`].
    pub internal: u32,
    /// Which read: one of the addresses above.
    pub path: String,
    /// The question.
    pub body: Box<RawValue>,
    /// W3C trace context, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// When the caller stops waiting, in milliseconds since 1970.
    pub deadline: i64,
}

/// What the function answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// As of HTTP.
    pub status: u16,
    /// The answer, or the problem.
    pub body: Box<RawValue>,
}

/// Asks about each of these, up to 100.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ids<T> {
    /// Which.
    pub ids: Vec<T>,
}

/// Asks for an author's newest posts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Newest {
    /// Whose.
    pub author: UserId,
    /// Older than this one.
    #[serde(default)]
    pub before: Option<PostId>,
    /// How many, up to 100.
    pub limit: usize,
}

/// Asks which posts the viewer likes, and how people are to be shown to them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct View {
    /// Who.
    pub viewer: UserId,
    /// Which, up to 100.
    pub posts: Vec<PostId>,
    /// Whom, up to 100.
    pub people: Vec<UserId>,
}

/// Asks for a page of a person's followers, or of whom they follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Edges {
    /// Whose.
    pub user: UserId,
    /// With greater ids than this one.
    #[serde(default)]
    pub after: Option<UserId>,
    /// How many, up to [`EDGES_MAX`].
    pub limit: usize,
}
