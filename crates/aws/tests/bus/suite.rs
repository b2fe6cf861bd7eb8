//! The bus on AWS under the suite of every bus, and what stands here for the suite's cases that a
//! bus with its own time and no order cannot run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::types::QueueAttributeName;
use conformance::bus::{Queues, Recorder, Stage, Verdict};
use kernel::EventKind;
use kernel::bus::{Bus, Delivery, Failed, Handler, QueuePolicy, Subscription};
use kernel::queues::{Queues as _, Which};
use tokio_util::sync::CancellationToken;

use crate::events::events;
use crate::stage::{config, opened, stage};

conformance::bus_suite!(remote crate::stage::stage);

const A: &str = "suite-a";
const ONE: Queues = &[(A, EventKind::ALL)];

/// Counts how many batches it has in hand.
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
    done: AtomicUsize,
}

#[async_trait]
impl Handler for Crowd {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        self.done.fetch_add(batch.len(), Ordering::SeqCst);
        Vec::new()
    }
}

/// In the place of `one_worker_keeps_the_order`: SQS promises no order, so this is what one worker
/// is for.
#[tokio::test]
async fn one_worker_has_one_batch_in_hand() {
    let stage = stage();
    let opened = stage.open(ONE, None).await;
    let (now, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let handler = Arc::new(Crowd { now, most, done });
    let (kinds, batch_max, workers) = (EventKind::ALL, 3, 1);
    let subscription =
        Subscription { queue: A, kinds, batch_max, workers, handler: Arc::clone(&handler) as _ };
    opened.start(vec![subscription]);
    opened.bus().publish(&events(40)).await.unwrap();
    opened.drained().await;
    assert_eq!(handler.done.load(Ordering::SeqCst), 40);
    assert_eq!(handler.most.load(Ordering::SeqCst), 1);
}

/// In the place of the suite's two cases of retention: fourteen days do not pass in a test, but SQS
/// can be asked what it will do.
#[tokio::test]
async fn queues_and_dead_letters_are_kept_for_the_retention() {
    let config = aws::bus::Config { policy: QueuePolicy::default(), ..config() };
    opened(&config, ONE).await;
    let sqs = aws_sdk_sqs::config::Builder::from(&crate::bed::sdk());
    let sqs = sqs.endpoint_url(config.services_url.clone().unwrap()).build();
    let sqs = aws_sdk_sqs::Client::from_conf(sqs);
    for name in [config.queue_name(A), config.dead_name(A), config.dead_name("event-bus")] {
        let url = sqs.get_queue_url().queue_name(&name).send().await.unwrap().queue_url.unwrap();
        let told = sqs.get_queue_attributes().queue_url(url);
        let told = told.attribute_names(QueueAttributeName::All).send().await.unwrap();
        let told = told.attributes.unwrap();
        assert_eq!(told[&QueueAttributeName::MessageRetentionPeriod], "1209600", "{name}");
        if name == config.queue_name(A) {
            assert_eq!(told[&QueueAttributeName::VisibilityTimeout], "30");
            let redrive = &told[&QueueAttributeName::RedrivePolicy];
            let redrive: serde_json::Value = serde_json::from_str(redrive).unwrap();
            assert_eq!(redrive["maxReceiveCount"], 2);
            let dead = redrive["deadLetterTargetArn"].as_str().unwrap();
            assert!(dead.ends_with(&config.dead_name(A)), "{dead}");
            let allowed = &told[&QueueAttributeName::Policy];
            assert!(allowed.contains("events.amazonaws.com"), "{allowed}");
        }
    }
}

/// In the place of the suite's case of the process that a message ends: what was in hand with it is
/// received again together, and SQS knows nothing of processes, so what saves the neighbours here
/// is that repetitions are handled alone.
#[tokio::test]
async fn a_message_that_never_lets_go_dies_alone() {
    let stage = stage();
    let opened = stage.open(ONE, None).await;
    let events = events(6);
    let bad = events[2].id;
    let a = Recorder::ruled(move |delivery| match delivery.message.event.id {
        id if id == bad => Verdict::Hang,
        _ => Verdict::Done,
    });
    opened.bus().publish(&events).await.unwrap();
    opened.start(vec![a.on(A, 10)]);
    opened.drained().await;
    let dead = opened.dead(A).await;
    assert_eq!(dead.iter().map(|dead| dead.message.event.id).collect::<Vec<_>>(), [bad]);
    assert!(dead[0].reason.contains("took longer"), "{}", dead[0].reason);
    let first = a.batches().remove(0);
    assert!(first.len() > 1, "it had neighbours");
    let again: Vec<_> = a.batches().into_iter().filter(|batch| batch[0].receives > 1).collect();
    assert_eq!(again.len(), first.len());
    assert!(again.iter().all(|batch| batch.len() == 1));
}

/// A batch may be larger than what SQS gives at once.
#[tokio::test]
async fn a_large_batch_is_filled_by_several_receives() {
    let stage = stage();
    let opened = stage.open(ONE, None).await;
    opened.bus().publish(&events(35)).await.unwrap();
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![a.on(A, 25)]);
    opened.drained().await;
    assert_eq!(a.batches().iter().map(Vec::len).collect::<Vec<_>>(), [25, 10]);
}

/// What nobody can read comes twice and lies with the dead letters, beside what can be read.
#[tokio::test]
async fn an_unreadable_message_ends_with_the_dead_letters() {
    let config = config();
    let bus = opened(&config, ONE).await;
    let sqs = aws_sdk_sqs::config::Builder::from(&crate::bed::sdk());
    let sqs = sqs.endpoint_url(config.services_url.clone().unwrap()).build();
    let sqs = aws_sdk_sqs::Client::from_conf(sqs);
    let url = sqs.get_queue_url().queue_name(config.queue_name(A)).send().await.unwrap();
    let url = url.queue_url.unwrap();
    sqs.send_message().queue_url(&url).message_body("moon").send().await.unwrap();
    bus.publish(&events(1)).await.unwrap();
    let a = Recorder::always(Verdict::Done);
    let cancel = CancellationToken::new();
    let run = tokio::spawn({
        let (bus, cancel, subscription) = (Arc::clone(&bus), cancel.clone(), a.on(A, 10));
        async move { bus.run(vec![subscription], cancel).await }
    });
    let letters = loop {
        let page = bus.dead_list(A, None, 10).await.unwrap();
        if !page.items.is_empty() {
            break page.items;
        }
    };
    assert_eq!(a.seen().len(), 1);
    assert_eq!((letters.len(), letters[0].receives), (1, 2));
    assert!(letters[0].message.is_none() && letters[0].body == "moon");
    assert!(letters[0].reason.contains("cannot be read"), "{}", letters[0].reason);
    assert!(letters[0].died_at.unwrap() >= letters[0].queued_at);
    assert_eq!(bus.dead_redrive(Which::Queue(A)).await.unwrap(), 0, "it cannot be read");
    assert_eq!(bus.dead_show(&letters[0].id).await.unwrap(), letters[0]);
    assert_eq!(bus.dead_purge(Which::One(&letters[0].id)).await.unwrap(), 1);
    assert_eq!(bus.dead_show(&letters[0].id).await.unwrap_err().code.status(), 404);
    cancel.cancel();
    tokio::time::timeout(Duration::from_secs(10), run).await.unwrap().unwrap().unwrap();
}
