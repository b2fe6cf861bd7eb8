//! Messages of a queue: received, deleted, hidden.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName,
};
use kernel::Time;

use super::AwsBus;
use super::message::Note;
use super::retry::{Fate, Remote, tens, why};
use super::send::fates;

/// Messages in one receive, at most.
pub(super) const RECEIVE_MAX: usize = 10;

/// One received message.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// SQS's name for the message, the same at each receive.
    pub(super) id: String,
    /// By which this receive is settled.
    pub(super) receipt: String,
    /// How often it was received, this time included.
    pub(super) receives: u32,
    /// When it was sent.
    pub(super) sent: Time,
    /// What was noted when it died.
    pub(super) note: Option<Note>,
    /// What it holds.
    pub(super) body: String,
}

impl Received {
    fn new(message: Message) -> Option<Self> {
        let system = |name: &MessageSystemAttributeName| message.attributes.as_ref()?.get(name);
        let number = |name| system(&name).and_then(|text| text.parse::<i64>().ok());
        let receives = number(MessageSystemAttributeName::ApproximateReceiveCount).unwrap_or(1);
        let sent = number(MessageSystemAttributeName::SentTimestamp).unwrap_or(0);
        let attributes = message.message_attributes.as_ref();
        let note = Note::read(|name| attributes?.get(name)?.string_value());
        Some(Self {
            receives: u32::try_from(receives).unwrap_or(u32::MAX),
            sent: Time::from_millis(sent),
            note,
            id: message.message_id?,
            receipt: message.receipt_handle?,
            body: message.body.unwrap_or_default(),
        })
    }
}

/// How to receive.
#[derive(Clone, Copy)]
pub(super) struct Receive {
    /// Messages, at most.
    pub(super) most: usize,
    /// How long to wait for the first.
    pub(super) wait: Duration,
    /// How long they are hidden; as the queue says when none.
    pub(super) hidden: Option<Duration>,
}

fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}

impl AwsBus {
    /// Receives some messages; none may mean that there are none.
    pub(super) async fn receive(&self, url: &str, how: Receive) -> Result<Vec<Received>, Remote> {
        let client: &Client = if how.wait.is_zero() { &self.sqs } else { &self.polls };
        let most = i32::try_from(how.most.clamp(1, RECEIVE_MAX)).unwrap_or(1);
        let answer = client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(most)
            .wait_time_seconds(seconds(how.wait))
            .set_visibility_timeout(how.hidden.map(seconds))
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await;
        let answer = answer.map_err(|error| Remote::new("ReceiveMessage", &error))?;
        let messages = answer.messages.unwrap_or_default();
        Ok(messages.into_iter().filter_map(Received::new).collect())
    }

    /// Deletes messages; answers the receipts of those that are still there, and why.
    pub(super) async fn delete(&self, url: &str, receipts: Vec<String>) -> Vec<(String, String)> {
        let mut left = Vec::new();
        for receipts in tens(receipts, usize::MAX, String::len) {
            let send = |receipts| Box::pin(self.delete_once(url, receipts)) as _;
            left.extend(self.config.rounds().send(receipts, send).await);
        }
        left
    }

    async fn delete_once(&self, url: &str, receipts: Vec<String>) -> Vec<Fate> {
        let count = receipts.len();
        let entry = |(id, receipt): (usize, String)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
            entry.receipt_handle(receipt).build()
        };
        let entries = receipts.into_iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>();
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return vec![Fate::Never(error.to_string()); count],
        };
        let request = self.sqs.delete_message_batch().queue_url(url).set_entries(Some(entries));
        match request.send().await {
            Ok(answer) => {
                let taken = answer.successful().iter().map(|entry| entry.id());
                fates(count, taken, answer.failed())
            }
            Err(error) => vec![Fate::Never(why(&error)); count],
        }
    }

    /// Hides messages for `time` from now on; not at all when it is zero. Where that fails they
    /// come when they were to come anyway.
    pub(super) async fn hide(&self, url: &str, receipts: Vec<String>, time: Duration) {
        for receipts in tens(receipts, usize::MAX, String::len) {
            let send = |receipts| Box::pin(self.hide_once(url, receipts, time)) as _;
            let refused = self.config.rounds().send(receipts, send).await;
            if let Some((_, why)) = refused.first() {
                tracing::warn!(url, why, messages = refused.len(), "visibility was not changed");
            }
        }
    }

    async fn hide_once(&self, url: &str, receipts: Vec<String>, time: Duration) -> Vec<Fate> {
        let count = receipts.len();
        let entry = |(id, receipt): (usize, String)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id.to_string());
            entry.receipt_handle(receipt).visibility_timeout(seconds(time)).build()
        };
        let entries = receipts.into_iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>();
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return vec![Fate::Never(error.to_string()); count],
        };
        let request = self.sqs.change_message_visibility_batch().queue_url(url);
        match request.set_entries(Some(entries)).send().await {
            Ok(answer) => {
                let taken = answer.successful().iter().map(|entry| entry.id());
                fates(count, taken, answer.failed())
            }
            Err(error) => vec![Fate::Never(why(&error)); count],
        }
    }
}
