//! What goes over a socket, as JSON text: rendered once, sent to many.

use bytes::Bytes;
use kernel::{Code, PostId, Problem};
use serde::Deserialize;

use crate::model::Place;
use crate::read::{Item, present_item};

const ENTRY_START: &[u8] = b"{\"type\":\"timeline.entry\",\"cursor\":\"";

/// What a peer may say.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum FromPeer {
    /// Are you there?
    Ping,
    /// Give me what came after this cursor.
    Resume {
        /// Of a page, the hello or an entry.
        cursor: String,
    },
}

/// What a message says: it must be JSON, and then one of the known frames.
pub(crate) fn parse(text: &str) -> Result<FromPeer, Problem> {
    // The whole text first: a frame's shape can be wrong before the text has ended.
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        Problem::new(Code::MalformedRequest, "The message is not JSON.").because(error)
    })?;
    serde_json::from_value(value).map_err(|error| {
        let detail = "Known types are `ping` and `resume` with a `cursor`.";
        Problem::new(Code::ValidationFailed, detail).because(error)
    })
}

/// An entry that arrived with the turn `arrival`.
pub(crate) fn entry(arrival: u64, item: &Item<'_>) -> Bytes {
    let cursor = Place::live(arrival).newer();
    let mut frame = Vec::with_capacity(item.bytes() + 256);
    frame.extend_from_slice(ENTRY_START);
    frame.extend_from_slice(cursor.as_bytes());
    frame.extend_from_slice(b"\",\"data\":");
    present_item(&mut frame, item);
    frame.push(b'}');
    Bytes::from(frame)
}

/// The arrival of an entry's frame; none for every other frame.
pub(crate) fn arrival(frame: &[u8]) -> Option<u64> {
    let rest = frame.strip_prefix(ENTRY_START)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let cursor = std::str::from_utf8(&rest[..end]).ok()?;
    Place::parse(cursor).ok().map(|(_, place)| place.seen)
}

/// A post is gone.
pub(crate) fn removed(post: PostId) -> Bytes {
    Bytes::from(format!("{{\"type\":\"timeline.removed\",\"data\":{{\"postId\":\"{post}\"}}}}"))
}

/// The greeting.
pub(crate) fn hello(connection: &str, heartbeat_secs: u64, seen: u64) -> Bytes {
    let hello = serde_json::json!({
        "type": "hello",
        "connectionId": connection,
        "heartbeatSeconds": heartbeat_secs,
        "cursor": Place::live(seen).newer(),
    });
    Bytes::from(hello.to_string())
}

/// The gap is too wide to fill: read the feed anew.
pub const RESYNC: Bytes = Bytes::from_static(b"{\"type\":\"resync\"}");

/// Yes, I am here.
pub(crate) const PONG: Bytes = Bytes::from_static(b"{\"type\":\"pong\"}");

/// What the peer said cannot be done.
pub(crate) fn error(problem: &Problem) -> Bytes {
    let error = serde_json::json!({
        "type": "error",
        "code": problem.code.as_str(),
        "detail": problem.detail,
    });
    Bytes::from(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{Shown, profiled};

    #[test]
    fn an_entry_carries_its_arrival_and_others_do_not() {
        let item = Item {
            post_id: PostId(1.into()),
            post: &Shown::new(b"{}"),
            author: Some(&profiled(b"{}")),
            like_count: Some(0),
            liked: Some(false),
        };
        let frame = entry(7, &item);
        assert_eq!(arrival(&frame), Some(7));
        let read: serde_json::Value = serde_json::from_slice(&frame).unwrap();
        assert_eq!(read["type"], "timeline.entry");
        assert_eq!(read["data"]["liked"], false);
        assert_eq!(arrival(&removed(PostId(1.into()))), None);
        assert_eq!(arrival(&RESYNC), None);
    }
}
