//! Events to EventBridge.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_smithy_types::DateTime;
use futures_util::StreamExt;
use futures_util::stream;
use kernel::Event;
use kernel::bus::BusError;

use super::message::write;
use super::retry::{Fate, tens, why};
use super::{AwsBus, refuse_all};

/// Requests under way at the same moment, for one publish.
const REQUESTS_MAX: usize = 4;
/// What EventBridge counts for an entry's time.
const TIME_BYTES: usize = 14;

/// Refusals of an entry that may pass, in EventBridge's words.
const PASSING: &[&str] = &["ThrottlingException", "InternalFailure", "InternalException"];

/// An event as EventBridge takes it.
#[derive(Clone)]
struct Entry {
    index: usize,
    entry: PutEventsRequestEntry,
}

impl Entry {
    fn new(bus: &str, index: usize, event: &Event) -> Result<Self, serde_json::Error> {
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(bus)
            .source(&event.source)
            .detail_type(event.kind().short_name())
            .detail(write(event)?)
            .time(DateTime::from_millis(event.time.millis()))
            .set_trace_header(event.trace().map(|trace| trace.x_ray()))
            .build();
        Ok(Self { index, entry })
    }

    /// Its size as EventBridge counts it.
    fn bytes(&self) -> usize {
        let texts = [self.entry.source(), self.entry.detail_type(), self.entry.detail()];
        TIME_BYTES + texts.into_iter().flatten().map(str::len).sum::<usize>()
    }
}

impl AwsBus {
    pub(super) async fn put(&self, events: &[Event]) -> Result<(), BusError> {
        let most = self.config.message_bytes_max;
        let bus = self.config.bus_name();
        let (mut entries, mut refused) = (Vec::with_capacity(events.len()), Vec::new());
        for (index, event) in events.iter().enumerate() {
            let entry = Entry::new(&bus, index, event)
                .map_err(|error| refuse_all(events.len(), error.to_string()))?;
            if entry.bytes() > most {
                refused.push((index, format!("a message has at most {most} bytes")));
            } else {
                entries.push(entry);
            }
        }
        let requests = tens(entries, most, Entry::bytes).into_iter();
        let answers = requests.map(|request| self.put_some(request));
        let answers: Vec<_> = stream::iter(answers).buffer_unordered(REQUESTS_MAX).collect().await;
        refused.extend(answers.into_iter().flatten());
        answer(refused)
    }

    /// One request's worth of entries; answers the refused ones.
    async fn put_some(&self, entries: Vec<Entry>) -> Vec<(usize, String)> {
        let send = |entries: Vec<Entry>| {
            let entries: Vec<_> = entries.into_iter().map(|entry| entry.entry).collect();
            Box::pin(self.put_once(entries)) as _
        };
        let refused = self.config.rounds().send(entries, send).await;
        refused.into_iter().map(|(entry, why)| (entry.index, why)).collect()
    }

    async fn put_once(&self, entries: Vec<PutEventsRequestEntry>) -> Vec<Fate> {
        let count = entries.len();
        let answer = match self.events.put_events().set_entries(Some(entries)).send().await {
            Ok(answer) => answer,
            // The SDK has tried it again already, where that makes sense.
            Err(error) => return vec![Fate::Never(why(&error)); count],
        };
        let fates = answer.entries().iter().map(|entry| match entry.error_code() {
            None => Fate::Taken,
            Some(code) => {
                let why = format!("{code}: {}", entry.error_message().unwrap_or("no message"));
                if PASSING.contains(&code) { Fate::Later(why) } else { Fate::Never(why) }
            }
        });
        fates.collect()
    }
}

/// Refused indexes in their order, with the first one's reason.
pub(super) fn answer(mut refused: Vec<(usize, String)>) -> Result<(), BusError> {
    refused.sort_unstable_by_key(|(index, _)| *index);
    let Some((_, reason)) = refused.first().cloned() else { return Ok(()) };
    Err(BusError { refused: refused.into_iter().map(|(index, _)| index).collect(), reason })
}
