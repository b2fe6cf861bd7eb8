//! What a queue's message says: EventBridge's wrapping of an event, or a message of our own.

use kernel::bus::Message;
use kernel::queues::REASON_BYTES_MAX;
use kernel::{Event, Time};
use serde::{Deserialize, Serialize};

/// Either of the two forms.
#[derive(Deserialize)]
struct Body {
    /// EventBridge's: the event as it was published.
    detail: Option<Event>,
    /// Ours: the event, and how far its handling has come.
    event: Option<Event>,
    cursor: Option<String>,
}

/// Reads the body of a queue's message.
pub(super) fn read(body: &str) -> Result<Message, String> {
    let body: Body =
        serde_json::from_str(body).map_err(|error| format!("it cannot be read: {error}"))?;
    match (body.event, body.detail) {
        (Some(event), _) => Ok(Message { event, cursor: body.cursor }),
        (None, Some(event)) => Ok(event.into()),
        (None, None) => Err("it cannot be read: it holds no event".to_owned()),
    }
}

/// JSON in which every character is one that SQS takes: control characters are escaped already, and
/// these two are neither in its set nor in XML's.
pub(super) fn write(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    if !text.contains(['\u{FFFE}', '\u{FFFF}']) {
        return Ok(text);
    }
    Ok(text.replace('\u{FFFE}', "\\uFFFE").replace('\u{FFFF}', "\\uFFFF"))
}

/// What is noted on a dead letter, as message attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Note {
    /// Why its last receive failed.
    pub(super) reason: String,
    /// How often it was received.
    pub(super) receives: u32,
    /// When it was first queued.
    pub(super) queued_at: Time,
    /// When it came to the dead letters.
    pub(super) died_at: Time,
}

impl Note {
    /// Names and values of the attributes.
    pub(super) fn attributes(&self) -> [(&'static str, String); 4] {
        [
            ("reason", clean(&self.reason)),
            ("receives", self.receives.to_string()),
            ("queuedAt", self.queued_at.millis().to_string()),
            ("diedAt", self.died_at.millis().to_string()),
        ]
    }

    /// Reads them back; none where any is missing, as on what SQS itself moved.
    pub(super) fn read<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let time = |name: &str| Some(Time::from_millis(value(name)?.parse().ok()?));
        Some(Self {
            reason: value("reason")?.to_owned(),
            receives: value("receives")?.parse().ok()?,
            queued_at: time("queuedAt")?,
            died_at: time("diedAt")?,
        })
    }
}

/// The reason in characters that an attribute may hold, cut to its length; never empty.
fn clean(reason: &str) -> String {
    let good = |c: char| match c {
        '\t' | '\n' | '\r' => ' ',
        c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => '\u{FFFD}',
        c => c,
    };
    let mut text: String = reason.chars().map(good).collect();
    text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
    if text.is_empty() { "no reason was given".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use kernel::event::{ContentType, DeletedUser, SpecVersion};
    use kernel::{EventData, UserId};
    use serde_json::json;
    use ulid::Ulid;

    use super::*;

    fn event() -> Event {
        let id = Ulid::from_string("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
        Event {
            specversion: SpecVersion::V1,
            id,
            source: "/mini-sns/user".into(),
            subject: id.to_string(),
            time: Time::from_millis(0),
            datacontenttype: ContentType::Json,
            traceparent: None,
            data: EventData::UserDeleted(DeletedUser { user_id: UserId(id) }),
        }
    }

    #[test]
    fn both_forms_are_read() {
        let wrapped = json!({"version": "0", "source": "/mini-sns/user", "detail": event()});
        assert_eq!(read(&wrapped.to_string()).unwrap(), Message::from(event()));
        let own = Message { event: event(), cursor: Some("page 2".into()) };
        assert_eq!(read(&write(&own).unwrap()).unwrap(), own);
    }

    #[test]
    fn what_is_neither_form_says_so() {
        for body in ["", "moon", "{}", "[]", r#"{"detail":{"moon":1}}"#, r#"{"event":null}"#] {
            assert!(read(body).unwrap_err().starts_with("it cannot be read"), "{body}");
        }
    }

    #[test]
    fn a_body_holds_no_character_that_sqs_refuses() {
        let mut message = Message::from(event());
        message.cursor = Some("a\u{FFFE}b\u{FFFF}c\u{1}d\u{D7FF}".into());
        let body = write(&message).unwrap();
        assert!(body.chars().all(|c| !matches!(c, '\u{FFFE}' | '\u{FFFF}' | '\u{1}')), "{body}");
        assert_eq!(read(&body).unwrap(), message);
    }

    #[test]
    fn a_note_is_read_back_in_characters_that_an_attribute_takes() {
        let at = Time::from_millis;
        let reason = format!("a\u{0}b\n{}", "語".repeat(1_000));
        let note = Note { reason, receives: 2, queued_at: at(5), died_at: at(9) };
        let attributes = note.attributes();
        let value = |name: &str| {
            attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
        };
        let read = Note::read(value).unwrap();
        assert!(read.reason.starts_with("a\u{FFFD}b 語") && read.reason.len() <= 2_000);
        assert_eq!((read.receives, read.queued_at, read.died_at), (2, at(5), at(9)));
        assert_eq!(Note::read(|_| None), None);
        assert_eq!(clean(""), "no reason was given");
    }
}
