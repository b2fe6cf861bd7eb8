//! What every bus must do. An implementation describes how it is opened, consumed and moved in time
//! with a [`Stage`], and runs [`crate::bus_suite`]. Order is no promise, so no case but one asks
//! for it.

mod delivery;
mod failure;
mod restart;

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kernel::bus::{Bus, Delivery, Failed, Handler, Message, QueuePolicy, Subscription};
use kernel::event::{DeletedUser, Like};
use kernel::{Event, EventData, EventKind, Ids, PostId, Problem, UserId};
use tokio::sync::watch;
use ulid::Ulid;

pub use delivery::*;
pub use failure::*;
pub use restart::*;

use crate::{SeededIds, TestClock};

/// The queues a case uses: their names and the kinds they take.
pub type Queues = &'static [(&'static str, &'static [EventKind])];

/// One store of queues, which can be opened again and again.
#[async_trait]
pub trait Stage: Send + Sync {
    /// The clock that the bus goes by.
    fn clock(&self) -> Arc<TestClock>;

    /// How its queues are made, and how finely they keep time.
    fn pace(&self) -> Pace {
        Pace::default()
    }

    /// Opens the bus, with everything delivered twice and shuffled where there is a seed for it.
    async fn open(&self, queues: Queues, chaos: Option<u64>) -> Box<dyn Opened>;
}

/// The time of a stage.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How its queues are made.
    pub policy: QueuePolicy,
    /// How much earlier than told something may happen.
    pub grain: Duration,
    /// How long a case may take.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            policy: QueuePolicy::default(),
            grain: Duration::from_millis(1),
            patience: Duration::from_secs(30),
        }
    }
}

/// A dead letter as the suite looks at it.
#[derive(Clone, Debug)]
pub struct Dead {
    /// Its id.
    pub id: String,
    /// Its receives.
    pub receives: u32,
    /// Why it died.
    pub reason: String,
    /// What it was.
    pub message: Message,
}

/// An open bus.
#[async_trait]
pub trait Opened: Send + Sync {
    /// The bus as services see it.
    fn bus(&self) -> Arc<dyn Bus>;

    /// Begins to consume, in the background.
    fn start(&self, subscriptions: Vec<Subscription>);

    /// Ends consuming and closes, as a shutdown does.
    async fn stop(self: Box<Self>);

    /// Goes away in the middle of its work, as a crash does.
    async fn crash(self: Box<Self>);

    /// Lets time pass, or waits until it has.
    async fn pass(&self, time: Duration);

    /// Waits until every queue is empty.
    async fn drained(&self);

    /// Waits until there is nothing to do at this moment.
    async fn idle(&self);

    /// A queue's dead letters.
    async fn dead(&self, queue: &str) -> Vec<Dead>;

    /// Queues all dead letters of a queue again.
    async fn redrive(&self, queue: &str) -> u64;

    /// Queues one dead letter again.
    async fn redrive_one(&self, id: &str) -> Result<u64, Problem>;

    /// Drops all dead letters of a queue.
    async fn purge(&self, queue: &str) -> u64;
}

/// What a [`Recorder`] does with a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is done.
    Done,
    /// It failed.
    Fail,
    /// The handler panics.
    Panic,
    /// The handler never answers.
    Hang,
}

type Rule = dyn Fn(&Delivery) -> Verdict + Send + Sync;

/// A handler that writes down what it gets, and does as its rule says.
pub struct Recorder {
    seen: Mutex<Vec<Vec<Delivery>>>,
    count: watch::Sender<usize>,
    rule: Box<Rule>,
}

impl Recorder {
    /// One whose rule may look at each delivery.
    pub fn ruled(rule: impl Fn(&Delivery) -> Verdict + Send + Sync + 'static) -> Arc<Self> {
        let (seen, count) = (Mutex::default(), watch::Sender::new(0));
        Arc::new(Self { seen, count, rule: Box::new(rule) })
    }

    /// One that treats all alike.
    pub fn always(verdict: Verdict) -> Arc<Self> {
        Self::ruled(move |_| verdict)
    }

    /// The batches so far.
    pub fn batches(&self) -> Vec<Vec<Delivery>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The deliveries so far.
    pub fn seen(&self) -> Vec<Delivery> {
        self.batches().into_iter().flatten().collect()
    }

    /// The ids of the events so far, in the order of arrival.
    pub fn events(&self) -> Vec<Ulid> {
        self.seen().iter().map(|delivery| delivery.message.event.id).collect()
    }

    /// Waits until `count` deliveries have been seen.
    pub async fn reached(&self, count: usize) {
        let mut seen = self.count.subscribe();
        seen.wait_for(|seen| *seen >= count).await.expect("the recorder lives");
    }

    /// As a subscription with one worker.
    pub fn on(self: &Arc<Self>, queue: &'static str, batch_max: usize) -> Subscription {
        let handler = Arc::clone(self) as Arc<dyn Handler>;
        Subscription { queue, kinds: EventKind::ALL, batch_max, workers: 1, handler }
    }
}

#[async_trait]
impl Handler for Recorder {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(batch.clone());
        self.count.send_modify(|count| *count += batch.len());
        let mut failed = Vec::new();
        for delivery in batch {
            match (self.rule)(&delivery) {
                Verdict::Done => {}
                Verdict::Fail => {
                    failed.push(Failed { id: delivery.id, problem: Problem::not_found("moon") });
                }
                Verdict::Panic => panic!("the moon fell"),
                Verdict::Hang => pending().await,
            }
        }
        failed
    }
}

const A: &str = "suite-a";
const B: &str = "suite-b";
const LIKES: &[EventKind] = &[EventKind::LikeCreated];
const ONE: Queues = &[(A, EventKind::ALL)];
const TWO: Queues = &[(A, EventKind::ALL), (B, LIKES)];

fn ids(stage: &dyn Stage) -> Arc<SeededIds> {
    SeededIds::new(stage.clock(), 7)
}

fn likes(stage: &dyn Stage, count: usize) -> Vec<Event> {
    let (ids, clock) = (ids(stage), stage.clock());
    let like = |version| {
        let (user_id, post_id) = (UserId(ids.ulid()), PostId(ids.ulid()));
        Event::new(&*ids, &*clock, EventData::LikeCreated(Like { user_id, post_id, version }))
    };
    (0..count).map(|index| like(u64::try_from(index).expect("small"))).collect()
}

fn deletion(stage: &dyn Stage) -> Event {
    let ids = ids(stage);
    let user = DeletedUser { user_id: UserId(ids.ulid()) };
    Event::new(&*ids, &*stage.clock(), EventData::UserDeleted(user))
}

fn ids_of(events: &[Event]) -> Vec<Ulid> {
    events.iter().map(|event| event.id).collect()
}

fn sorted(mut ids: Vec<Ulid>) -> Vec<Ulid> {
    ids.sort_unstable();
    ids
}

fn visibility(stage: &dyn Stage) -> Duration {
    stage.pace().policy.visibility
}

/// Publishes to `A` with a handler that refuses everything, until all of it is dead.
async fn kill(stage: &dyn Stage, opened: &dyn Opened, events: &[Event]) {
    opened.bus().publish(events).await.expect("the bus takes it");
    opened.start(vec![Recorder::always(Verdict::Fail).on(A, 10)]);
    opened.idle().await;
    opened.pass(visibility(stage)).await;
    opened.drained().await;
}

/// Makes a test of each case: `bus_suite!(stage)`, where `stage()` makes a fresh [`Stage`].
///
/// `bus_suite!(remote stage)` leaves out the cases that want a clock moved by days, an order, or a
/// process's end noted as it happens; such a bus's own tests put others in their place.
#[macro_export]
macro_rules! bus_suite {
    ($stage:path) => {
        $crate::bus_suite! { every $stage:
            one_worker_keeps_the_order
            a_message_is_kept_for_the_retention_and_no_longer
            a_dead_letter_s_retention_counts_from_its_first_queueing
            a_message_that_never_lets_go_dies_and_its_neighbours_live
        }
    };
    (remote $stage:path) => {
        $crate::bus_suite! { every $stage: }
    };
    (every $stage:path: $($own:ident)*) => {
        $crate::bus_suite! { these $stage: $($own)*
            an_event_reaches_every_queue_that_takes_its_kind
            a_queue_gets_only_its_kinds
            an_event_that_nobody_takes_is_no_error
            an_event_arrives_as_it_was_published
            batches_are_no_larger_than_asked
            only_the_failed_part_of_a_batch_comes_again
            a_failed_message_stays_hidden_until_its_time_is_over
            a_failing_message_holds_up_no_other
            two_receives_then_the_dead_letters
            each_queue_has_its_own_dead_letters
            a_panic_counts_as_a_failure
            a_handler_that_always_panics_fills_the_dead_letters
            a_handler_that_takes_too_long_has_failed
            a_failure_of_an_unknown_delivery_hurts_nobody
            a_redriven_message_is_a_new_one
            one_dead_letter_can_be_redriven_alone
            purged_dead_letters_are_gone_for_good
            what_nobody_consumes_waits
            a_clean_stop_repeats_nothing
            failures_are_remembered_over_a_restart
            what_was_in_hand_at_a_crash_comes_again
            at_least_once_and_in_any_order
            failures_die_in_any_order_too
            workers_work_at_the_same_time
            a_handler_can_go_on_with_a_cursor
            a_message_that_is_too_large_is_refused_alone
            an_unknown_queue_takes_nothing
            many_publishers_lose_nothing
            a_handler_works_in_the_trace_of_its_event
        }
    };
    (these $stage:path: $($case:ident)+) => {
        $(
            #[tokio::test]
            async fn $case() {
                let stage = $stage();
                let patience = $crate::bus::Stage::pace(&stage).patience;
                let case = $crate::bus::$case(&stage);
                tokio::time::timeout(patience, case).await.expect("the case ends");
            }
        )+
    };
}
