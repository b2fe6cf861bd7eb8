//! The seams, recorded: each call of a table, the bus, the feed, sockets or another service is a
//! span of the request or delivery that makes it. Services and backends know nothing of this.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use kernel::bus::{Bus, BusError, Delivery, Failed, Handler, Message, Subscription};
use kernel::feed::{Cached, Feed, Load};
use kernel::peers::{Followers, Peers, Viewed};
use kernel::request::recorded;
use kernel::sequence::Ticket;
use kernel::sockets::{CloseCode, Sockets};
use kernel::spans::{Kind, Recording, Root, Span, Tracer, call, span};
use kernel::table::{Item, Items, Key, Query, Scatter, Table, TableError, Write};
use kernel::trace::{SpanId, TraceContext};
use kernel::{Clock, Code, Event, Ids, Post, PostId, Problem, Profile, UserId};
use tokio::time::Instant;
use ulid::Ulid;

/// A seam, recorded.
pub(crate) struct Recorded<T: ?Sized> {
    inner: Arc<T>,
    /// Whose it is.
    name: &'static str,
}

impl<T: ?Sized> Recorded<T> {
    pub(crate) fn new(inner: Arc<T>, name: &'static str) -> Arc<Self> {
        Arc::new(Self { inner, name })
    }
}

fn word(error: &TableError) -> &'static str {
    match error {
        TableError::Unmet(_) => "unmet",
        TableError::Contended => "contended",
        TableError::Throttled => "throttled",
        TableError::Unavailable(_) => "unavailable",
        TableError::Malformed(_) => "malformed",
    }
}

/// Tells which table it was, how much was asked of it, and how it failed. An unmet condition is an
/// answer.
fn of_table<T>(
    table: &'static str,
    asked: (&'static str, usize),
) -> impl FnOnce(&Result<T, TableError>, &mut Span) {
    move |done, span| {
        span.tell("table", table);
        span.tell(asked.0, asked.1);
        match done {
            Ok(_) => {}
            Err(TableError::Unmet(_)) => span.tell("outcome", "unmet"),
            Err(error) => span.failed = Some(word(error).into()),
        }
    }
}

#[async_trait]
impl Table for Recorded<dyn Table> {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        let told = of_table(self.name, ("keys", keys.len()));
        call("table get", Kind::Client, self.inner.get(keys), told).await
    }

    async fn query(&self, query: Query) -> Result<Items, TableError> {
        let told = of_table(self.name, ("limit", query.limit));
        call("table query", Kind::Client, self.inner.query(query), told).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), TableError> {
        let told = of_table(self.name, ("writes", writes.len()));
        call("table commit", Kind::Client, self.inner.commit(writes), told).await
    }

    async fn commit_ordered(&self, writes: Vec<Write>, ticket: &Ticket) -> Result<(), TableError> {
        let told = of_table(self.name, ("writes", writes.len()));
        call("table commit", Kind::Client, self.inner.commit_ordered(writes, ticket), told).await
    }

    async fn scatter(&self, writes: Vec<Scatter>) -> Result<(), TableError> {
        let told = of_table(self.name, ("writes", writes.len()));
        call("table scatter", Kind::Client, self.inner.scatter(writes), told).await
    }
}

fn told<T>(done: &Result<T, Problem>, span: &mut Span) {
    span.failed = done.as_ref().err().map(|problem| problem.code.as_str().into());
}

#[async_trait]
impl Feed for Recorded<dyn Feed> {
    async fn get_or_load<'a>(&self, user: UserId, load: Load<'a>) -> Result<Cached, Problem> {
        span("feed get", Kind::Client, self.inner.get_or_load(user, load), |done, span| {
            told(done, span);
            if let Ok(cached) = done {
                span.tell("cache", if cached.hit { "hit" } else { "miss" });
            }
        })
        .await
    }

    async fn forget(&self, users: &[UserId]) -> Result<(), Problem> {
        call("feed forget", Kind::Client, self.inner.forget(users), |done, span| {
            told(done, span);
            span.tell("users", users.len());
        })
        .await
    }

    async fn check(&self) -> Result<(), Problem> {
        self.inner.check().await
    }
}

#[async_trait]
impl Sockets for Recorded<dyn Sockets> {
    async fn send(&self, users: &[UserId], frame: Bytes) -> Result<(), Problem> {
        span("sockets send", Kind::Producer, self.inner.send(users, frame), |done, span| {
            told(done, span);
            span.tell("users", users.len());
        })
        .await
    }

    fn may_reach(&self, users: &[UserId]) -> bool {
        self.inner.may_reach(users)
    }

    async fn close(&self, user: UserId, code: CloseCode) -> Result<(), Problem> {
        self.inner.close(user, code).await
    }
}

#[async_trait]
impl Peers for Recorded<dyn Peers> {
    async fn posts(&self, ids: &[PostId]) -> Result<Vec<Option<Post>>, Problem> {
        span("peers posts", Kind::Client, self.inner.posts(ids), told).await
    }

    async fn posts_exist(&self, ids: &[PostId]) -> Result<Vec<bool>, Problem> {
        span("peers posts_exist", Kind::Client, self.inner.posts_exist(ids), told).await
    }

    async fn newest_posts(
        &self,
        author: UserId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<Post>, Problem> {
        let asked = self.inner.newest_posts(author, before, limit);
        span("peers newest_posts", Kind::Client, asked, told).await
    }

    async fn profiles(&self, ids: &[UserId]) -> Result<Vec<Option<Profile>>, Problem> {
        span("peers profiles", Kind::Client, self.inner.profiles(ids), told).await
    }

    async fn like_counts(&self, posts: &[PostId]) -> Result<Vec<u64>, Problem> {
        span("peers like_counts", Kind::Client, self.inner.like_counts(posts), told).await
    }

    async fn viewed(
        &self,
        viewer: UserId,
        posts: &[PostId],
        people: &[UserId],
    ) -> Result<Viewed, Problem> {
        let asked = self.inner.viewed(viewer, posts, people);
        span("peers viewed", Kind::Client, asked, told).await
    }

    async fn followers(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        let asked = self.inner.followers(user, after, limit);
        span("peers followers", Kind::Client, asked, told).await
    }

    async fn following(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        let asked = self.inner.following(user, after, limit);
        span("peers following", Kind::Client, asked, told).await
    }
}

/// Whoever begins something in the trace of an event.
#[derive(Clone)]
pub(crate) struct Observer {
    pub(crate) tracer: Arc<Tracer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
}

impl Observer {
    fn name(&self) -> SpanId {
        let Ulid(id) = self.ids.ulid();
        SpanId(u64::try_from(id & u128::from(u64::MAX)).unwrap_or(1).max(1))
    }

    /// The same subscription, each of its batches recorded in the traces of its events.
    pub(crate) fn watch(&self, subscription: Subscription) -> Subscription {
        let (observer, queue) = (self.clone(), subscription.queue);
        let inner = subscription.handler;
        Subscription { handler: Arc::new(Consumer { observer, queue, inner }), ..subscription }
    }
}

/// The bus, recorded: what a handler queues is a part of its delivery, and what the relay publishes
/// is a part of the request that caused it.
pub(crate) struct RecordedBus {
    pub(crate) inner: Arc<dyn Bus>,
    pub(crate) observer: Observer,
}

#[async_trait]
impl Bus for RecordedBus {
    async fn publish(&self, events: &[Event]) -> Result<(), BusError> {
        let now = self.observer.clock.now();
        let start = Instant::now();
        let published = self.inner.publish(events).await;
        for (index, event) in events.iter().enumerate() {
            let Some(TraceContext { trace_id, span_id, sampled }) = event.trace() else { continue };
            let refused = published.as_ref().err().filter(|error| error.refused.contains(&index));
            let failed = refused.map(|_| "refused".into());
            let waited = now.since(event.time);
            // From when the event was written until the bus has it.
            let began = start.checked_sub(waited).unwrap_or(start);
            let recording = self.observer.tracer.begin(self.observer.name());
            let mut relay = Span::new(recording.root(), "outbox relay", Kind::Internal, began);
            relay.parent = Some(span_id);
            relay.failed.clone_from(&failed);
            relay.tell("event", event.kind().short_name());
            relay.tell("event_id", event.id.to_string());
            let mut publish = Span::new(recording.name(), "bus publish", Kind::Producer, start);
            publish.parent = Some(recording.root());
            publish.failed = failed;
            publish.tell("events", events.len());
            recording.add(None, publish);
            recording.end(vec![Root { trace_id, sampled, waited: Duration::ZERO, span: relay }]);
        }
        published
    }

    async fn enqueue(&self, queue: &str, messages: &[Message]) -> Result<(), BusError> {
        call("bus enqueue", Kind::Producer, self.inner.enqueue(queue, messages), |done, span| {
            span.failed = done.as_ref().err().map(|_| "refused".into());
            span.tell("messaging.destination.name", queue.to_owned());
            span.tell("messages", messages.len());
        })
        .await
    }
}

/// A handler, recorded.
struct Consumer {
    observer: Observer,
    queue: &'static str,
    inner: Arc<dyn Handler>,
}

/// A batch in hand. Dropped before its handler has answered, all of it has failed.
struct Batch {
    recording: Arc<Recording>,
    queue: &'static str,
    /// One for each trace.
    parts: Vec<Part>,
    /// What its handler answered.
    failed: Option<Vec<(String, Code)>>,
}

/// The first delivery of a trace.
struct Part {
    id: String,
    receives: u32,
    trace: TraceContext,
    event: &'static str,
    event_id: Ulid,
    waited: Duration,
}

#[async_trait]
impl Handler for Consumer {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        let now = self.observer.clock.now();
        let mut seen = HashSet::new();
        let parts = batch.iter().filter_map(|Delivery { id, receives, message }| {
            let event = &message.event;
            let trace = event.trace().filter(|trace| seen.insert(trace.trace_id))?;
            Some(Part {
                id: id.clone(),
                receives: *receives,
                trace,
                event: event.kind().short_name(),
                event_id: event.id,
                waited: now.since(event.time),
            })
        });
        let parts: Vec<Part> = parts.collect();
        if parts.is_empty() {
            return self.inner.handle(batch).await;
        }
        let recording = self.observer.tracer.begin(self.observer.name());
        let recorder = Arc::clone(&recording).into();
        let mut batch_in_hand = Batch { recording, queue: self.queue, parts, failed: None };
        let failed = recorded(recorder, self.inner.handle(batch)).await;
        let mine = |failed: &&Failed| batch_in_hand.parts.iter().any(|part| part.id == failed.id);
        let words =
            failed.iter().filter(mine).map(|failed| (failed.id.clone(), failed.problem.code));
        batch_in_hand.failed = Some(words.collect());
        failed
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let roots = std::mem::take(&mut self.parts).into_iter().map(|part| {
            let name = format!("consume {}", self.queue);
            let mut span =
                Span::new(self.recording.root(), name, Kind::Consumer, self.recording.begun());
            span.parent = Some(part.trace.span_id);
            span.failed = match &self.failed {
                Some(failed) => {
                    let failed = failed.iter().find(|(id, _)| *id == part.id);
                    failed.map(|(_, code)| code.as_str().into())
                }
                None => Some("broken off".into()),
            };
            span.tell("messaging.destination.name", self.queue);
            span.tell("messaging.message.id", part.id);
            span.tell("event", part.event);
            span.tell("event_id", part.event_id.to_string());
            span.tell("receives", usize::try_from(part.receives).unwrap_or(usize::MAX));
            span.tell("waited_ms", usize::try_from(part.waited.as_millis()).unwrap_or(usize::MAX));
            let TraceContext { trace_id, sampled, .. } = part.trace;
            Root { trace_id, sampled, waited: part.waited, span }
        });
        let roots = roots.collect();
        self.recording.end(roots);
    }
}
