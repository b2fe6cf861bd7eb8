//! What every limiter must do.

use std::sync::Arc;
use std::time::Duration;

use kernel::Clock;
use kernel::limiter::{Bucket, Decision, Limiter, Rate};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::TestClock;

const BUCKET: Bucket = Bucket { name: "test", rate: Rate { per_sec: 10, burst: 20 } };

async fn take(limiter: &dyn Limiter, bucket: Bucket, key: &str) -> Decision {
    limiter.take(bucket, key).await.expect("a limiter that works answers")
}

/// How many of `tries` were allowed.
async fn allowed(limiter: &dyn Limiter, bucket: Bucket, key: &str, tries: u32) -> u32 {
    let mut allowed = 0;
    for _ in 0..tries {
        allowed += u32::from(take(limiter, bucket, key).await.allowed);
    }
    allowed
}

/// Runs every case on limiters that `make` makes with a clock.
pub async fn suite<L: Limiter + 'static>(make: impl Fn(Arc<dyn Clock>) -> Arc<L>) {
    suite_of(50, make).await;
}

/// The same with fewer random schedules, for limiters whose steps are round trips.
pub async fn suite_at_a_distance<L: Limiter + 'static>(make: impl Fn(Arc<dyn Clock>) -> Arc<L>) {
    suite_of(5, make).await;
}

async fn suite_of<L: Limiter + 'static>(schedules: usize, make: impl Fn(Arc<dyn Clock>) -> Arc<L>) {
    a_full_bucket_gives_its_burst_and_no_more(&*make(TestClock::new())).await;
    remaining_counts_down(&*make(TestClock::new())).await;
    let clock = TestClock::new();
    tokens_come_back_at_the_rate(&*make(clock.clone()), &clock).await;
    let clock = TestClock::new();
    a_bucket_never_holds_more_than_its_burst(&*make(clock.clone()), &clock).await;
    let clock = TestClock::new();
    retry_after_is_true(&*make(clock.clone()), &clock).await;
    let clock = TestClock::new();
    refusals_cost_nothing(&*make(clock.clone()), &clock).await;
    keys_do_not_share(&*make(TestClock::new())).await;
    families_do_not_share(&*make(TestClock::new())).await;
    odd_keys_are_keys(&*make(TestClock::new())).await;
    callers_at_once_get_the_burst_and_no_more(make(TestClock::new())).await;
    any_schedule_keeps_the_rate(schedules, &make).await;
}

async fn a_full_bucket_gives_its_burst_and_no_more(limiter: &dyn Limiter) {
    assert_eq!(allowed(limiter, BUCKET, "a", 50).await, 20);
    let one = Bucket { name: "one", rate: Rate { per_sec: 1, burst: 1 } };
    assert_eq!(allowed(limiter, one, "a", 5).await, 1);
}

async fn remaining_counts_down(limiter: &dyn Limiter) {
    for remaining in (0..20).rev() {
        let decision = take(limiter, BUCKET, "a").await;
        assert_eq!(decision, Decision { allowed: true, remaining, retry_after_ms: 0 });
    }
    let refused = take(limiter, BUCKET, "a").await;
    assert!(!refused.allowed && refused.remaining == 0 && refused.retry_after_ms > 0);
}

async fn tokens_come_back_at_the_rate(limiter: &dyn Limiter, clock: &TestClock) {
    assert_eq!(allowed(limiter, BUCKET, "a", 20).await, 20);
    clock.advance(Duration::from_millis(99));
    assert_eq!(allowed(limiter, BUCKET, "a", 5).await, 0, "a token takes 100 ms");
    clock.advance(Duration::from_millis(1));
    assert_eq!(allowed(limiter, BUCKET, "a", 5).await, 1);
    clock.advance(Duration::from_millis(1000));
    assert_eq!(allowed(limiter, BUCKET, "a", 50).await, 10);
}

async fn a_bucket_never_holds_more_than_its_burst(limiter: &dyn Limiter, clock: &TestClock) {
    assert_eq!(allowed(limiter, BUCKET, "a", 20).await, 20);
    clock.advance(Duration::from_hours(1));
    assert_eq!(allowed(limiter, BUCKET, "a", 50).await, 20);
}

async fn retry_after_is_true(limiter: &dyn Limiter, clock: &TestClock) {
    for bucket in [
        BUCKET,
        Bucket { name: "thirds", rate: Rate { per_sec: 3, burst: 2 } },
        Bucket { name: "fast", rate: Rate { per_sec: 5000, burst: 1 } },
    ] {
        allowed(limiter, bucket, "a", bucket.rate.burst).await;
        let refused = take(limiter, bucket, "a").await;
        assert!(!refused.allowed, "{bucket:?}");
        if refused.retry_after_ms > 1 {
            clock.advance(Duration::from_millis(refused.retry_after_ms - 1));
            let early = take(limiter, bucket, "a").await;
            assert!(!early.allowed, "{bucket:?} said {refused:?}");
            assert_eq!(early.retry_after_ms, 1, "{bucket:?}");
        }
        clock.advance(Duration::from_millis(1));
        assert!(take(limiter, bucket, "a").await.allowed, "{bucket:?} said {refused:?}");
    }
}

async fn refusals_cost_nothing(limiter: &dyn Limiter, clock: &TestClock) {
    assert_eq!(allowed(limiter, BUCKET, "a", 1000).await, 20);
    clock.advance(Duration::from_millis(100));
    assert!(take(limiter, BUCKET, "a").await.allowed, "980 refusals took tokens");
}

async fn keys_do_not_share(limiter: &dyn Limiter) {
    assert_eq!(allowed(limiter, BUCKET, "a", 30).await, 20);
    assert_eq!(allowed(limiter, BUCKET, "b", 30).await, 20);
    assert_eq!(allowed(limiter, BUCKET, "a", 1).await, 0);
}

async fn families_do_not_share(limiter: &dyn Limiter) {
    let other = Bucket { name: "other", rate: Rate { per_sec: 1, burst: 3 } };
    assert_eq!(allowed(limiter, BUCKET, "a", 30).await, 20);
    assert_eq!(allowed(limiter, other, "a", 30).await, 3);
    assert_eq!(allowed(limiter, BUCKET, "a", 1).await, 0);
}

async fn odd_keys_are_keys(limiter: &dyn Limiter) {
    let long = "k".repeat(1000);
    for key in ["", " ", "\0", "a/b#c", "\u{1F980}", &long] {
        assert_eq!(allowed(limiter, BUCKET, key, 25).await, 20, "{key:?}");
    }
}

async fn callers_at_once_get_the_burst_and_no_more<L: Limiter + 'static>(limiter: Arc<L>) {
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let limiter = Arc::clone(&limiter);
            tokio::spawn(async move { allowed(&*limiter, BUCKET, "a", 25).await })
        })
        .collect();
    let mut total = 0;
    for caller in callers {
        total += caller.await.expect("no caller fails");
    }
    assert_eq!(total, 20);
}

/// Whatever the pauses, a run of requests gets its burst, what came back since, and no more.
async fn any_schedule_keeps_the_rate<L: Limiter + 'static>(
    schedules: usize,
    make: &impl Fn(Arc<dyn Clock>) -> Arc<L>,
) {
    let seeded = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), seeded);
    let pauses_millis = proptest::collection::vec(0_u64..400, 1..100);
    for _ in 0..schedules {
        let tree = pauses_millis.new_tree(&mut runner).expect("pauses can always be drawn");
        let clock = TestClock::new();
        let limiter = make(clock.clone());
        let (mut elapsed_ms, mut taken) = (0, 0);
        for pause in tree.current() {
            clock.advance(Duration::from_millis(pause));
            elapsed_ms += pause;
            taken += u64::from(allowed(&*limiter, BUCKET, "a", 3).await);
            let most = 20 + elapsed_ms / 100;
            assert!(taken <= most, "{taken} tokens in {elapsed_ms} ms");
        }
    }
}
