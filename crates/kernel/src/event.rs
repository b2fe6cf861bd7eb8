//! The events, as CloudEvents 1.0 in JSON structured mode.

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::trace::TraceContext;
use crate::{Clock, Ids, Post, PostId, Profile, Time, UserId, request};

/// A fact that a service tells the others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Always `1.0`.
    pub specversion: SpecVersion,
    /// Unique; consumers may use it to know a repetition.
    pub id: Ulid,
    /// The service that tells it, such as `/mini-sns/post`.
    pub source: String,
    /// What it is about: a user's or a post's id.
    pub subject: String,
    /// When it happened.
    pub time: Time,
    /// Always `application/json`.
    pub datacontenttype: ContentType,
    /// The trace of the request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub data: EventData,
}

/// The version of CloudEvents.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SpecVersion {
    /// CloudEvents 1.0.
    #[serde(rename = "1.0")]
    V1,
}

/// The media type of an event's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ContentType {
    /// JSON.
    #[serde(rename = "application/json")]
    Json,
}

/// One end of a follow changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Follow {
    /// Who follows.
    pub follower_id: UserId,
    /// Who is followed.
    pub followee_id: UserId,
    /// Grows with each change of this edge; an older one must not undo a newer one.
    pub version: u64,
}

/// One like changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Like {
    /// Who likes.
    pub user_id: UserId,
    /// What.
    pub post_id: PostId,
    /// Grows with each change of this edge; an older one must not undo a newer one.
    pub version: u64,
}

/// One block changed: while it is there, neither is shown the other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// Who blocks.
    pub blocker_id: UserId,
    /// Whom.
    pub blocked_id: UserId,
    /// Grows with each change of this edge; an older one must not undo a newer one.
    pub version: u64,
}

/// One mute changed: while it is there, who mutes is not shown the other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mute {
    /// Who mutes.
    pub muter_id: UserId,
    /// Whom.
    pub muted_id: UserId,
    /// Grows with each change of this edge; an older one must not undo a newer one.
    pub version: u64,
}

/// A post that is gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedPost {
    /// Which.
    pub post_id: PostId,
    /// Whose it was.
    pub author_id: UserId,
    /// When it was written.
    pub created_at: Time,
}

/// A person who is gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedUser {
    /// Who.
    pub user_id: UserId,
}

/// A person who has proved that their e-mail address is theirs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmedEmail {
    /// Who.
    pub user_id: UserId,
}

/// A person whose account is suspended, or no longer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// Who.
    pub user_id: UserId,
    /// Grows with each change; an older one must not undo a newer one.
    pub version: u64,
}

macro_rules! events {
    ($($(#[$doc:meta])* $kind:ident($data:ty) = $name:literal from $source:literal,)*) => {
        /// What happened, and to what.
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[serde(tag = "type", content = "data")]
        pub enum EventData {
            $($(#[$doc])* #[serde(rename = $name)] $kind($data),)*
        }

        /// The kinds of events.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum EventKind {
            $($(#[$doc])* $kind,)*
        }

        impl EventKind {
            /// Every kind there is.
            pub const ALL: &[EventKind] = &[$(EventKind::$kind,)*];

            /// The CloudEvents `type`.
            pub const fn type_name(self) -> &'static str {
                match self { $(EventKind::$kind => $name,)* }
            }

            /// The CloudEvents `source`.
            pub const fn source(self) -> &'static str {
                match self { $(EventKind::$kind => $source,)* }
            }
        }

        impl EventData {
            /// Which kind it is.
            pub const fn kind(&self) -> EventKind {
                match self { $(EventData::$kind(_) => EventKind::$kind,)* }
            }
        }
    };
}

events! {
    /// An account was made.
    UserRegistered(Profile) = "mini-sns.UserRegistered" from "/mini-sns/user",
    /// A profile changed.
    UserProfileUpdated(Profile) = "mini-sns.UserProfileUpdated" from "/mini-sns/user",
    /// An account was deleted; every service drops what it holds of the person.
    UserDeleted(DeletedUser) = "mini-sns.UserDeleted" from "/mini-sns/user",
    /// Somebody proved that their e-mail address is theirs.
    EmailConfirmed(ConfirmedEmail) = "mini-sns.EmailConfirmed" from "/mini-sns/user",
    /// A post was written.
    PostCreated(Post) = "mini-sns.PostCreated" from "/mini-sns/post",
    /// A post was deleted.
    PostDeleted(DeletedPost) = "mini-sns.PostDeleted" from "/mini-sns/post",
    /// Somebody follows somebody.
    FollowCreated(Follow) = "mini-sns.FollowCreated" from "/mini-sns/social",
    /// Somebody no longer follows somebody.
    FollowDeleted(Follow) = "mini-sns.FollowDeleted" from "/mini-sns/social",
    /// Somebody likes a post.
    LikeCreated(Like) = "mini-sns.LikeCreated" from "/mini-sns/social",
    /// Somebody no longer likes a post.
    LikeDeleted(Like) = "mini-sns.LikeDeleted" from "/mini-sns/social",
    /// Somebody blocks somebody. The follows between them, told for themselves, are gone.
    BlockCreated(Block) = "mini-sns.BlockCreated" from "/mini-sns/social",
    /// Somebody no longer blocks somebody.
    BlockDeleted(Block) = "mini-sns.BlockDeleted" from "/mini-sns/social",
    /// Somebody mutes somebody.
    MuteCreated(Mute) = "mini-sns.MuteCreated" from "/mini-sns/social",
    /// Somebody no longer mutes somebody.
    MuteDeleted(Mute) = "mini-sns.MuteDeleted" from "/mini-sns/social",
    /// An operator suspended an account; nothing of the person is shown.
    UserSuspended(Suspension) = "mini-sns.UserSuspended" from "/mini-sns/user",
    /// An operator gave a suspended account back; all of it is shown again.
    UserRestored(Suspension) = "mini-sns.UserRestored" from "/mini-sns/user",
}

impl EventKind {
    /// The name without its prefix, EventBridge's `detail-type`.
    pub fn short_name(self) -> &'static str {
        self.type_name().trim_start_matches("mini-sns.")
    }
}

impl EventData {
    fn subject(&self) -> String {
        match self {
            Self::UserRegistered(profile) | Self::UserProfileUpdated(profile) => {
                profile.user_id.to_string()
            }
            Self::UserDeleted(user) => user.user_id.to_string(),
            Self::EmailConfirmed(user) => user.user_id.to_string(),
            Self::UserSuspended(user) | Self::UserRestored(user) => user.user_id.to_string(),
            Self::PostCreated(post) => post.post_id.to_string(),
            Self::PostDeleted(post) => post.post_id.to_string(),
            Self::FollowCreated(follow) | Self::FollowDeleted(follow) => {
                follow.followee_id.to_string()
            }
            Self::LikeCreated(like) | Self::LikeDeleted(like) => like.post_id.to_string(),
            Self::BlockCreated(block) | Self::BlockDeleted(block) => block.blocked_id.to_string(),
            Self::MuteCreated(mute) | Self::MuteDeleted(mute) => mute.muted_id.to_string(),
        }
    }
}

impl Event {
    /// A new event in the trace of the present request.
    pub fn new(ids: &dyn Ids, clock: &dyn Clock, data: EventData) -> Self {
        Self {
            specversion: SpecVersion::V1,
            id: ids.ulid(),
            source: data.kind().source().to_owned(),
            subject: data.subject(),
            time: clock.now(),
            datacontenttype: ContentType::Json,
            traceparent: request::cause().map(|trace| trace.to_string()),
            data,
        }
    }

    /// The trace of the request that caused it.
    pub fn trace(&self) -> Option<TraceContext> {
        self.traceparent.as_deref().and_then(TraceContext::parse)
    }

    /// Which kind it is.
    pub const fn kind(&self) -> EventKind {
        self.data.kind()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_event_is_a_cloud_event() {
        let id = Ulid::from_string("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
        let event = Event {
            specversion: SpecVersion::V1,
            id,
            source: "/mini-sns/social".into(),
            subject: id.to_string(),
            time: Time::from_millis(0),
            datacontenttype: ContentType::Json,
            traceparent: None,
            data: EventData::FollowCreated(Follow {
                follower_id: UserId(id),
                followee_id: UserId(id),
                version: 3,
            }),
        };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["specversion"], "1.0");
        assert_eq!(json["type"], "mini-sns.FollowCreated");
        assert_eq!(json["time"], "1970-01-01T00:00:00.000Z");
        assert_eq!(json["data"]["followerId"], id.to_string());
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }

    #[test]
    fn every_kind_has_its_own_name() {
        let names: HashSet<_> = EventKind::ALL.iter().map(|kind| kind.type_name()).collect();
        assert_eq!(names.len(), EventKind::ALL.len());
        assert_eq!(EventKind::PostCreated.short_name(), "PostCreated");
        assert!(EventKind::ALL.iter().all(|kind| kind.type_name().starts_with("mini-sns.")));
    }
}
