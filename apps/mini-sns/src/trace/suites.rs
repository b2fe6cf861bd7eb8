//! The suites of the seams over what records them: a wrapper that drops, changes or reorders
//! anything is none. Everything is done as a part of a recorded request, and every event is one
//! of a trace that is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use conformance::bus::{Dead, Opened, Queues, Stage};
use conformance::table::Fixture;
use conformance::{SeededIds, TestClock};
use embedded::feed::{FeedLimits, MemoryFeed};
use embedded::sockets::{Hub, HubLimits};
use embedded::table::{Options, Store};
use kernel::bus::{Bus, BusError, Delivery, Failed, Handler, Message, Subscription};
use kernel::event::DeletedUser;
use kernel::feed::{Cached, Feed, Load};
use kernel::request::{Scope, recorded, within};
use kernel::sequence::Ticket;
use kernel::sockets::{CloseCode, Sockets};
use kernel::spans::{Sink, Traced, Tracer};
use kernel::table::{Item, Items, Key, Query, Scatter, Table, TableError, Write};
use kernel::trace::SpanId;
use kernel::{Event, EventData, EventKind, Problem, UserId};
use tokio::time::Instant;

use super::seams::{Observer, Recorded, RecordedBus};

#[path = "../../../../crates/embedded/tests/bus_stage/mod.rs"]
mod bus_stage;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Counts the spans that are kept.
#[derive(Default)]
struct Kept(AtomicUsize);

impl Sink for Kept {
    fn take(&self, spans: Vec<Traced>) {
        self.0.fetch_add(spans.len(), Ordering::SeqCst);
    }
}

fn observer(clock: Arc<TestClock>) -> (Observer, Arc<Kept>) {
    let kept = Arc::<Kept>::default();
    let tracer = Tracer::new(Arc::clone(&kept) as _, Duration::from_secs(1));
    let ids = SeededIds::new(Arc::clone(&clock), 5);
    (Observer { tracer, clock, ids }, kept)
}

/// A seam whose calls are parts of a recorded request.
struct AtWork<T: ?Sized> {
    inner: Arc<T>,
    tracer: Arc<Tracer>,
}

impl<T: ?Sized> AtWork<T> {
    fn new(inner: Arc<T>) -> Arc<Self> {
        let (observer, _) = observer(TestClock::new());
        Arc::new(Self { inner, tracer: observer.tracer })
    }

    async fn work<O>(&self, work: impl Future<Output = O> + Send) -> O {
        let scope = Scope::until(Instant::now() + Duration::from_mins(1));
        let recording = self.tracer.begin(SpanId(1));
        within(scope, async move { recorded(recording.into(), work).await }).await
    }
}

#[async_trait]
impl Table for AtWork<dyn Table> {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        self.work(self.inner.get(keys)).await
    }

    async fn query(&self, query: Query) -> Result<Items, TableError> {
        self.work(self.inner.query(query)).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), TableError> {
        self.work(self.inner.commit(writes)).await
    }

    async fn commit_ordered(&self, writes: Vec<Write>, ticket: &Ticket) -> Result<(), TableError> {
        self.work(self.inner.commit_ordered(writes, ticket)).await
    }

    async fn scatter(&self, writes: Vec<Scatter>) -> Result<(), TableError> {
        self.work(self.inner.scatter(writes)).await
    }
}

#[async_trait]
impl Feed for AtWork<dyn Feed> {
    async fn get_or_load<'a>(&self, user: UserId, load: Load<'a>) -> Result<Cached, Problem> {
        self.work(self.inner.get_or_load(user, load)).await
    }

    async fn forget(&self, users: &[UserId]) -> Result<(), Problem> {
        self.work(self.inner.forget(users)).await
    }

    async fn check(&self) -> Result<(), Problem> {
        self.work(self.inner.check()).await
    }
}

#[async_trait]
impl Sockets for AtWork<dyn Sockets> {
    async fn send(&self, users: &[UserId], frame: Bytes) -> Result<(), Problem> {
        self.work(self.inner.send(users, frame)).await
    }

    fn may_reach(&self, users: &[UserId]) -> bool {
        self.inner.may_reach(users)
    }

    async fn close(&self, user: UserId, code: CloseCode) -> Result<(), Problem> {
        self.work(self.inner.close(user, code)).await
    }
}

mod table {
    use super::{Arc, AtWork, Fixture, Options, Recorded, Store, Table, TestClock};

    fn make() -> Fixture {
        let (dir, clock) = (tempfile::tempdir().expect("a directory"), TestClock::new());
        let store = Store::open(dir.path(), Options::default(), clock.clone());
        let store: Arc<dyn Table> = Arc::new(store.expect("it opens"));
        let recorded: Arc<dyn Table> = Recorded::new(store, "post");
        let at_work: Arc<dyn Table> = AtWork::new(recorded);
        Fixture::new(at_work, clock).keeping(dir)
    }

    conformance::table_suite!(make);
}

#[tokio::test]
async fn a_recorded_feed_is_a_feed() {
    conformance::feed::suite(|clock| {
        let feed: Arc<dyn Feed> = MemoryFeed::new(FeedLimits::default(), clock);
        AtWork::new(Recorded::new(feed, "feed") as Arc<dyn Feed>)
    })
    .await;
}

#[tokio::test]
async fn a_recorded_hub_is_a_hub() {
    conformance::sockets::suite(|limits| {
        let hub = Hub::new(HubLimits { mailbox: limits, ..HubLimits::default() });
        let sockets: Arc<dyn Sockets> = hub.clone();
        (AtWork::new(Recorded::new(sockets, "sockets") as Arc<dyn Sockets>), hub)
    })
    .await;
}

/// Gives every event a trace that has none.
struct InTrace(Arc<dyn Bus>);

fn in_trace(event: &Event) -> Event {
    let traceparent = event.traceparent.clone().or_else(|| Some(TRACE.to_owned()));
    Event { traceparent, ..event.clone() }
}

fn out_of_trace(message: Message) -> Message {
    let traceparent = message.event.traceparent.filter(|trace| trace != TRACE);
    Message { event: Event { traceparent, ..message.event }, ..message }
}

#[async_trait]
impl Bus for InTrace {
    async fn publish(&self, events: &[Event]) -> Result<(), BusError> {
        self.0.publish(&events.iter().map(in_trace).collect::<Vec<_>>()).await
    }

    async fn enqueue(&self, queue: &str, messages: &[Message]) -> Result<(), BusError> {
        let traced = |message: &Message| {
            let event = in_trace(&message.event);
            Message { event, ..message.clone() }
        };
        self.0.enqueue(queue, &messages.iter().map(traced).collect::<Vec<_>>()).await
    }
}

/// The suite's own handler, which knows nothing of traces.
struct OutOfTrace(Arc<dyn Handler>);

#[async_trait]
impl Handler for OutOfTrace {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        let plain = |delivery: Delivery| {
            assert!(delivery.message.event.trace().is_some());
            Delivery { message: out_of_trace(delivery.message), ..delivery }
        };
        self.0.handle(batch.into_iter().map(plain).collect()).await
    }
}

/// The embedded bus, recorded.
struct RecordedStage(bus_stage::Embedded);

struct RecordedOpen {
    inner: Box<dyn Opened>,
    observer: Observer,
}

fn stage() -> RecordedStage {
    RecordedStage(bus_stage::stage())
}

#[async_trait]
impl Stage for RecordedStage {
    fn clock(&self) -> Arc<TestClock> {
        self.0.clock()
    }

    async fn open(&self, queues: Queues, chaos: Option<u64>) -> Box<dyn Opened> {
        let (observer, _) = observer(self.0.clock());
        Box::new(RecordedOpen { inner: self.0.open(queues, chaos).await, observer })
    }
}

#[async_trait]
impl Opened for RecordedOpen {
    fn bus(&self) -> Arc<dyn Bus> {
        let (inner, observer) = (self.inner.bus(), self.observer.clone());
        Arc::new(InTrace(Arc::new(RecordedBus { inner, observer })))
    }

    fn start(&self, subscriptions: Vec<Subscription>) {
        let watched = subscriptions.into_iter().map(|subscription| {
            let handler = Arc::new(OutOfTrace(Arc::clone(&subscription.handler)));
            self.observer.watch(Subscription { handler, ..subscription })
        });
        self.inner.start(watched.collect());
    }

    async fn stop(self: Box<Self>) {
        self.inner.stop().await;
    }

    async fn crash(self: Box<Self>) {
        self.inner.crash().await;
    }

    async fn pass(&self, time: Duration) {
        self.inner.pass(time).await;
    }

    async fn drained(&self) {
        self.inner.drained().await;
    }

    async fn idle(&self) {
        self.inner.idle().await;
    }

    async fn dead(&self, queue: &str) -> Vec<Dead> {
        let dead = self.inner.dead(queue).await.into_iter();
        dead.map(|dead| Dead { message: out_of_trace(dead.message), ..dead }).collect()
    }

    async fn redrive(&self, queue: &str) -> u64 {
        self.inner.redrive(queue).await
    }

    async fn redrive_one(&self, id: &str) -> Result<u64, Problem> {
        self.inner.redrive_one(id).await
    }

    async fn purge(&self, queue: &str) -> u64 {
        self.inner.purge(queue).await
    }
}

mod bus {
    use super::stage;

    conformance::bus_suite!(stage);
}

/// Else the suites would pass because nothing is recorded.
#[tokio::test]
async fn what_the_suites_do_is_recorded() {
    let (observer, kept) = observer(TestClock::new());
    let (dir, clock) = (tempfile::tempdir().expect("a directory"), TestClock::new());
    let store = Store::open(dir.path(), Options::default(), clock).expect("it opens");
    let recorded = Recorded::new(Arc::new(store) as Arc<dyn Table>, "post") as Arc<dyn Table>;
    let (kinds, handler) = (EventKind::ALL, Arc::new(Reads(recorded)));
    let likes = Subscription { queue: "likes", kinds, handler, batch_max: 1, workers: 1 };
    let handler = observer.watch(likes).handler;
    let user_id = UserId(ulid::Ulid(1));
    let data = EventData::UserDeleted(DeletedUser { user_id });
    let event = in_trace(&Event::new(&*observer.ids, &*observer.clock, data));
    let message = Message::from(event);
    let batch = vec![Delivery { id: "1".to_owned(), receives: 1, message }];
    let scope = Scope::until(Instant::now() + Duration::from_mins(1));
    within(scope, handler.handle(batch)).await;
    assert_eq!(kept.0.load(Ordering::SeqCst), 2, "the delivery, and what was read for it");
}

/// Reads something for each batch.
struct Reads(Arc<dyn Table>);

#[async_trait]
impl Handler for Reads {
    async fn handle(&self, _: Vec<Delivery>) -> Vec<Failed> {
        let read = self.0.get(&[Key::new("p", "s")]).await;
        assert_eq!(read.expect("it is read"), [None]);
        Vec::new()
    }
}
