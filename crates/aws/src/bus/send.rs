//! Messages to a queue, ten in a request.

use std::collections::HashMap;

use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    SendMessageBatchRequestEntry,
};
use aws_smithy_types::error::operation::BuildError;
use futures_util::{StreamExt, stream};
use kernel::bus::{BusError, Message};
use kernel::trace::TraceContext;

use super::message::{Note, write};
use super::publish::answer;
use super::retry::{Fate, tens, why};
use super::{AwsBus, refuse_all};

/// Requests under way at the same moment, for one call.
const REQUESTS_MAX: usize = 4;

/// A message to be sent.
#[derive(Clone)]
pub(super) struct Parcel {
    /// Its place among those that are sent together.
    pub(super) index: usize,
    /// Its body.
    pub(super) body: String,
    /// The trace it belongs to.
    pub(super) trace: Option<TraceContext>,
    /// What is noted on it.
    pub(super) note: Option<Note>,
}

impl Parcel {
    fn bytes(&self) -> usize {
        let note = self.note.as_ref().map_or(0, |note| {
            note.attributes().iter().map(|(name, value)| name.len() + value.len() + 6).sum()
        });
        self.body.len() + note
    }

    fn entry(self, id: usize) -> Result<SendMessageBatchRequestEntry, BuildError> {
        let text = || "String".to_owned();
        let mut entry =
            SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(self.body);
        for (name, value) in self.note.iter().flat_map(Note::attributes) {
            let value =
                MessageAttributeValue::builder().data_type(text()).string_value(value).build()?;
            entry = entry.message_attributes(name, value);
        }
        if let Some(trace) = self.trace {
            let value = MessageSystemAttributeValue::builder().data_type(text());
            entry = entry.message_system_attributes(
                MessageSystemAttributeNameForSends::AwsTraceHeader,
                value.string_value(trace.x_ray()).build()?,
            );
        }
        entry.build()
    }
}

impl AwsBus {
    /// Our own messages; those that are too large are refused, the others sent.
    pub(super) async fn send_messages(
        &self,
        url: &str,
        messages: &[Message],
    ) -> Result<(), BusError> {
        let most = self.config.message_bytes_max;
        let (mut parcels, mut refused) = (Vec::with_capacity(messages.len()), Vec::new());
        for (index, message) in messages.iter().enumerate() {
            let body =
                write(message).map_err(|error| refuse_all(messages.len(), error.to_string()))?;
            if body.len() > most {
                refused.push((index, format!("a message has at most {most} bytes")));
                continue;
            }
            parcels.push(Parcel { index, body, trace: message.event.trace(), note: None });
        }
        refused.extend(self.send(url, parcels).await);
        answer(refused)
    }

    /// Sends `parcels`; answers the refused ones by their index, and why.
    pub(super) async fn send(&self, url: &str, parcels: Vec<Parcel>) -> Vec<(usize, String)> {
        let requests = tens(parcels, self.config.message_bytes_max, Parcel::bytes).into_iter();
        let answers = requests.map(|parcels| async move {
            let send = |parcels| Box::pin(self.send_once(url, parcels)) as _;
            self.config.rounds().send(parcels, send).await
        });
        let answers: Vec<_> = stream::iter(answers).buffer_unordered(REQUESTS_MAX).collect().await;
        answers.into_iter().flatten().map(|(parcel, why)| (parcel.index, why)).collect()
    }

    async fn send_once(&self, url: &str, parcels: Vec<Parcel>) -> Vec<Fate> {
        let count = parcels.len();
        let entries = parcels.into_iter().enumerate().map(|(id, parcel)| parcel.entry(id));
        let entries = match entries.collect::<Result<Vec<_>, _>>() {
            Ok(entries) => entries,
            Err(error) => return vec![Fate::Never(error.to_string()); count],
        };
        let request = self.sqs.send_message_batch().queue_url(url).set_entries(Some(entries));
        match request.send().await {
            Ok(answer) => {
                let taken = answer.successful().iter().map(|entry| entry.id());
                fates(count, taken, answer.failed())
            }
            Err(error) => vec![Fate::Never(why(&error)); count],
        }
    }
}

/// The fates of a batch whose entries' ids are their places.
pub(super) fn fates<'a>(
    count: usize,
    taken: impl Iterator<Item = &'a str>,
    failed: &[aws_sdk_sqs::types::BatchResultErrorEntry],
) -> Vec<Fate> {
    let mut told: HashMap<usize, Fate> =
        taken.filter_map(|id| Some((id.parse().ok()?, Fate::Taken))).collect();
    for entry in failed {
        let Ok(place) = entry.id().parse() else { continue };
        let why = format!("{}: {}", entry.code(), entry.message().unwrap_or("no message"));
        let fate = if entry.sender_fault() { Fate::Never(why) } else { Fate::Later(why) };
        told.insert(place, fate);
    }
    (0..count).map(|place| told.remove(&place).unwrap_or_else(Fate::untold)).collect()
}
