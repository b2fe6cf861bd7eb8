//! What an edge is and how it changes.

use kernel::{Code, FieldError, Problem, Time, UserId};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// A follow or a like, there or undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Edge {
    /// Grows by one with each change.
    #[serde(rename = "v")]
    pub(crate) version: u64,
    /// When it was last made; the key of its rows in the lists by time.
    pub(crate) at: Ulid,
    /// Whether it is there.
    pub(crate) on: bool,
}

impl Edge {
    /// The edge after somebody asked for it at `at`; none when it is there already.
    pub(crate) fn made(before: Option<Edge>, at: Ulid) -> Option<Edge> {
        match before {
            Some(Edge { on: true, .. }) => None,
            Some(Edge { version, .. }) => Some(Edge { version: version + 1, at, on: true }),
            None => Some(Edge { version: 1, at, on: true }),
        }
    }

    /// The edge after somebody asked to undo it; none when it is not there.
    pub(crate) fn undone(before: Option<Edge>) -> Option<Edge> {
        let edge = before.filter(|edge| edge.on)?;
        Some(Edge { version: edge.version + 1, on: false, ..edge })
    }
}

/// When an edge with this place in a list by time was made.
pub(crate) fn made_at(at: Ulid) -> Time {
    Time::from_millis(i64::try_from(at.timestamp_ms()).unwrap_or(i64::MAX))
}

/// Nobody follows themselves.
pub(crate) fn check_follow(follower: UserId, followee: UserId) -> Result<(), Problem> {
    if follower == followee {
        let detail = "Your own posts are in your timeline already.";
        let errors = vec![FieldError::new("userId", "Somebody else's id.")];
        return Err(Problem { errors, ..Problem::new(Code::SelfFollow, detail) });
    }
    Ok(())
}

/// What a deleted user's request is answered with, when it was on its way during the deletion.
pub(crate) fn caller_gone() -> Problem {
    Problem::unauthenticated("The account has been deleted.")
}
