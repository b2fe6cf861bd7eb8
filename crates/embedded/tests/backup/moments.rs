//! Every moment comes back as it was, and across databases nothing comes without its cause.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kernel::audit::Snapshot;
use kernel::clock::SystemClock;
use kernel::table::{Key, Scatter, Table, Write, get_one};
use kernel::{Clock, Time};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::Config;

use crate::stage::{Content, Data, Stage};

/// Something that happens to the databases or to their copies.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u16),
    Expiring(u8),
    Delete(u8),
    Add(u8, i8),
    Scatter(u8, u8),
    Publish(u8),
    Keys(u8),
    Copy,
    Base,
    /// The server ends in good order and starts again.
    Restart,
    /// The same, and in between something is written that is not copied.
    Unseen(u8),
    /// Looked at now, and restored at the end.
    Mark,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), 0..2000_u16).prop_map(|(key, length)| Step::Put(key % 16, length)),
        1 => (0..16_u8).prop_map(Step::Expiring),
        2 => (0..16_u8).prop_map(Step::Delete),
        2 => (0..16_u8, any::<i8>()).prop_map(|(key, by)| Step::Add(key, by)),
        2 => (0..16_u8, 1..50_u8).prop_map(|(key, count)| Step::Scatter(key, count)),
        2 => (1..5_u8).prop_map(Step::Publish),
        1 => any::<u8>().prop_map(Step::Keys),
        2 => Just(Step::Copy),
        1 => Just(Step::Base),
        1 => Just(Step::Restart),
        1 => (0..16_u8).prop_map(Step::Unseen),
        4 => Just(Step::Mark),
    ]
}

fn key(key: u8) -> Key {
    Key::new("p", format!("{key:02}"))
}

/// Does the steps, and gives the contents at the marks.
async fn play(stage: &Stage, steps: Vec<Step>) -> Vec<(Time, Content)> {
    let mut data = stage.open();
    let mut backup = Some(stage.back_up(&data));
    // The first moment that there is a copy of.
    backup.as_ref().unwrap().copy(false).await.unwrap();
    stage.mark();
    let mut marks = Vec::new();
    for step in steps {
        let writes = match step {
            Step::Put(at, length) => vec![Write::put(key(at), "x".repeat(length.into()))],
            Step::Expiring(at) => {
                let at_most = stage.test_clock.now() + Duration::from_secs(2);
                vec![Write::put(key(at), "soon gone").expiring(at_most)]
            }
            Step::Delete(at) => vec![Write::delete(key(at))],
            Step::Add(at, by) => vec![Write::add(key(at), by.into())],
            Step::Scatter(from, count) => {
                let row = |n| Scatter::Put {
                    key: Key::new("rows", format!("{:03}", u16::from(from) + n)),
                    body: "row".into(),
                    expires_at: None,
                };
                let rows = (0..u16::from(count)).map(row).collect();
                data.right.scatter(rows).await.unwrap();
                Vec::new()
            }
            Step::Publish(count) => {
                stage.publish(&data, count.into()).await;
                Vec::new()
            }
            Step::Keys(number) => {
                stage.write_keys(&format!("keys {number}"));
                Vec::new()
            }
            Step::Copy | Step::Base => {
                let copied = backup.as_ref().unwrap().copy(matches!(step, Step::Base)).await;
                assert!(copied.unwrap() >= stage.test_clock.now());
                stage.mark();
                Vec::new()
            }
            Step::Restart | Step::Unseen(_) => {
                drop(backup.take());
                if let Step::Unseen(at) = step {
                    data.put(&format!("{at:02}"), "unseen".to_owned()).await;
                }
                drop(data);
                data = stage.open();
                stage.mark();
                backup = Some(stage.back_up(&data));
                backup.as_ref().unwrap().copy(false).await.unwrap();
                stage.mark();
                Vec::new()
            }
            Step::Mark => {
                // Keys have no moment of their own: they are what they are when they are copied.
                backup.as_ref().unwrap().copy(false).await.unwrap();
                stage.mark();
                let content = data.content().await;
                marks.push((stage.mark(), content));
                Vec::new()
            }
        };
        if !writes.is_empty() {
            data.left.commit(writes.clone()).await.unwrap();
            data.right.commit(writes).await.unwrap();
        }
    }
    backup.as_ref().unwrap().copy(false).await.unwrap();
    marks
}

proptest! {
    #![proptest_config(Config { cases: 6, max_shrink_iters: 40, ..Config::default() })]

    #[test]
    fn every_moment_comes_back_as_it_was(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stage = Stage::new();
            for (at, content) in play(&stage, steps).await {
                let restored = stage.content_at(at).await;
                // What has expired by now is gone from both.
                let alive = |(left, right, waiting, keys): Content| {
                    let now = stage.test_clock.now();
                    let lives = |item: &kernel::table::Item| {
                        item.expires_at.is_none_or(|expires_at| expires_at > now)
                    };
                    let keep = |items: Vec<_>| items.into_iter().filter(lives).collect::<Vec<_>>();
                    (keep(left), keep(right), waiting, keys)
                };
                assert_eq!(alive(restored), alive(content), "at {at}");
            }
        });
    }
}

/// Writes causes on the left; whoever sees one writes its effect on the right, without waiting for
/// the answer that the cause gets.
async fn cause_and_effect(data: Arc<Data>, writer: u64, until: Time) {
    for n in 0.. {
        if SystemClock.now() > until {
            return;
        }
        let key = Key::new("p", format!("{writer}-{n:06}"));
        let body = "x".repeat(500);
        let cause = vec![Write::put(key.clone(), body), Write::add(Key::new("count", ""), 1)];
        let effect = async {
            while get_one(&*data.left, key.clone()).await.unwrap().is_none() {
                tokio::task::yield_now().await;
            }
            data.right.commit(vec![Write::put(key.clone(), "effect")]).await.unwrap();
        };
        let (cause, ()) = tokio::join!(data.left.commit(cause), effect);
        cause.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_effect_comes_back_without_its_cause() {
    let stage = Stage::in_real_time();
    let data = Arc::new(stage.open());
    let backup = stage.back_up(&data);
    let first = backup.copy(false).await.unwrap();
    let until = SystemClock.now() + Duration::from_millis(1500);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..6 {
        writers.spawn(cause_and_effect(Arc::clone(&data), writer, until));
    }
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        backup.copy(round % 2 == 0).await.unwrap();
    }
    writers.join_all().await;
    let last = backup.copy(false).await.unwrap();
    let of = |data: &Data| -> [BTreeSet<String>; 2] {
        [&data.left, &data.right]
            .map(|store| store.items("p").map(|item| item.unwrap().key.sort).collect())
    };
    let all = of(&data);
    let span = last.since(first).as_millis();
    let mut counts = Vec::new();
    for step in 0..=8_u32 {
        let after = Duration::from_millis(u64::try_from(span * u128::from(step) / 8).unwrap());
        let to = stage.place();
        stage.restore(&stage.plan(first + after).unwrap(), &to).unwrap();
        let restored = {
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            Data::open(&to, &Default::default(), &clock)
        };
        let [causes, effects] = of(&restored);
        let orphans: Vec<_> = effects.difference(&causes).collect();
        assert!(orphans.is_empty(), "effects without a cause: {orphans:?}");
        // No writer had more than one cause without its effect.
        assert!(causes.len() <= effects.len() + 6);
        let mut counted = restored.left.items("count").map(|item| item.unwrap().count);
        assert_eq!(counted.next().unwrap_or(0), i64::try_from(causes.len()).unwrap());
        counts.push(causes.len());
    }
    assert!(counts.is_sorted() && counts[4] > 0 && counts[4] < all[0].len(), "{counts:?}");
    assert_eq!(counts[8], all[0].len(), "the last moment has everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_restart_goes_on_and_an_unseen_write_begins_anew() {
    let stage = Stage::new();
    let data = stage.open();
    let backup = stage.back_up(&data);
    backup.copy(false).await.unwrap();
    data.put("a", "1".to_owned()).await;
    drop(backup);
    drop(data);
    let data = stage.open();
    stage.mark();
    let backup = stage.back_up(&data);
    data.put("a", "2".to_owned()).await;
    backup.copy(false).await.unwrap();
    assert_eq!(stage.catalog().copies().len(), 1, "the first base is enough");
    drop(backup);
    let gap = stage.mark();
    data.put("a", "unseen".to_owned()).await;
    stage.mark();
    let backup = stage.back_up(&data);
    backup.copy(false).await.unwrap();
    assert_eq!(stage.catalog().copies().len(), 2);
    let refused = stage.plan(gap + Duration::from_millis(500)).unwrap_err().to_string();
    assert!(refused.contains("the nearest are"), "{refused}");
    let last = stage.catalog().plan(None).unwrap();
    assert_eq!(stage.content_at(last.at).await, data.content().await);
}
