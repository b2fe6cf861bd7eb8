//! What an edge is and how it changes.

use kernel::{Code, FieldError, Problem, Time, UserId};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::store::hides::Hide;

/// A follow, a like, a block or a mute, there or undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Edge {
    /// Grows by one with each change.
    #[serde(rename = "v")]
    pub(crate) version: u64,
    /// When it was last made; the key of its rows in the lists by time.
    pub(crate) at: Ulid,
    /// Whether it is there.
    pub(crate) on: bool,
    /// Of a follow: one of the two blocks the other, so it cannot be made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) barred: bool,
}

impl Edge {
    /// The edge after somebody asked for it at `at`; none when it is there already.
    pub(crate) fn made(before: Option<Edge>, at: Ulid) -> Option<Edge> {
        match before {
            Some(Edge { on: true, .. }) => None,
            before => {
                let version = before.map_or(0, |edge| edge.version) + 1;
                Some(Edge { version, at, on: true, barred: false })
            }
        }
    }

    /// The edge, not there, barred or no longer; it counts as a change only where it was there.
    pub(crate) fn barred(before: Option<Edge>, barred: bool) -> Edge {
        let never = Edge { version: 0, at: Ulid::nil(), on: false, barred };
        let edge = Edge::undone(before).or(before).unwrap_or(never);
        Edge { barred, ..edge }
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

/// Nobody blocks or mutes themselves.
pub(crate) fn check_hide(hide: Hide, who: UserId, whom: UserId) -> Result<(), Problem> {
    if who == whom {
        let code = match hide {
            Hide::Block => Code::SelfBlock,
            Hide::Mute => Code::SelfMute,
        };
        let errors = vec![FieldError::new("userId", "Somebody else's id.")];
        return Err(Problem { errors, ..Problem::new(code, "That would be yourself.") });
    }
    Ok(())
}

/// 403: one of the two blocks the other. Which of them is not told.
pub(crate) fn blocked() -> Problem {
    Problem::new(Code::Blocked, "One of you blocks the other.")
}

/// What a deleted user's request is answered with, when it was on its way during the deletion.
pub(crate) fn caller_gone() -> Problem {
    Problem::unauthenticated("The account has been deleted.")
}
