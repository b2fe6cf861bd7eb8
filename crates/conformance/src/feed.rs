//! What every feed cache must do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kernel::feed::{Feed, FeedEntry, Skeleton};
use kernel::{Clock, Code, PostId, Problem, UserId};
use tokio::sync::oneshot;

use crate::TestClock;

/// A skeleton of `entries` made-up entries.
pub fn skeleton(entries: u64) -> Skeleton {
    let entry = |number: u64| FeedEntry {
        post_id: PostId(u128::from(number).into()),
        author_id: UserId(7.into()),
        arrival: number,
    };
    Skeleton { entries: (0..entries).rev().map(entry).collect(), exhausted: true, seen: 0 }
}

const USER: UserId = UserId(ulid::Ulid(1));
const OTHER: UserId = UserId(ulid::Ulid(2));

async fn read(feed: &dyn Feed, user: UserId, entries: u64) -> (usize, bool) {
    let load = Box::pin(async move { Ok(skeleton(entries)) });
    let cached = feed.get_or_load(user, load).await.expect("a load that works is answered");
    (cached.skeleton.entries.len(), cached.hit)
}

/// Runs every case on caches that `make` makes with a clock.
pub async fn suite<F: Feed + 'static>(make: impl Fn(Arc<dyn Clock>) -> Arc<F>) {
    keeps_and_forgets(&*make(TestClock::new())).await;
    let clock = TestClock::new();
    ages(&*make(clock.clone()), &clock).await;
    failed_loads_are_not_kept(&*make(TestClock::new())).await;
    readers_that_miss_together_load_once(make(TestClock::new())).await;
    a_forget_keeps_out_what_is_being_loaded(make(TestClock::new())).await;
    a_reader_that_gives_up_lets_the_next_load(make(TestClock::new())).await;
}

async fn keeps_and_forgets(feed: &dyn Feed) {
    assert_eq!(read(feed, USER, 3).await, (3, false));
    assert_eq!(read(feed, USER, 4).await, (3, true));
    assert_eq!(read(feed, OTHER, 5).await, (5, false));
    feed.forget(&[USER]).await.expect("forgetting works");
    assert_eq!(read(feed, USER, 4).await, (4, false));
    assert_eq!(read(feed, OTHER, 6).await, (5, true));
    feed.forget(&[USER, OTHER]).await.expect("forgetting works");
    feed.forget(&[USER]).await.expect("forgetting twice works");
    assert_eq!(read(feed, OTHER, 6).await, (6, false));
}

async fn ages(feed: &dyn Feed, clock: &TestClock) {
    assert_eq!(read(feed, USER, 3).await, (3, false));
    clock.advance(Duration::from_millis(59_999));
    assert_eq!(read(feed, USER, 4).await, (3, true));
    clock.advance(Duration::from_millis(1));
    assert_eq!(read(feed, USER, 5).await, (5, false));
}

async fn failed_loads_are_not_kept(feed: &dyn Feed) {
    let load = Box::pin(async { Err(Problem::new(Code::Unavailable, "no")) });
    let refused = feed.get_or_load(USER, load).await.expect_err("the load's problem is answered");
    assert_eq!(refused.code, Code::Unavailable);
    assert_eq!(read(feed, USER, 2).await, (2, false));
}

/// Starts a read whose load waits for the sender; tells when the load has begun.
fn slow_read<F: Feed + 'static>(
    feed: &Arc<F>,
    entries: u64,
) -> (oneshot::Sender<()>, oneshot::Receiver<()>, tokio::task::JoinHandle<(usize, bool)>) {
    let (go, wait) = oneshot::channel::<()>();
    let (begun, started) = oneshot::channel::<()>();
    let feed = Arc::clone(feed);
    let task = tokio::spawn(async move {
        let load = Box::pin(async move {
            let _ = begun.send(());
            let _ = wait.await;
            Ok(skeleton(entries))
        });
        let cached = feed.get_or_load(USER, load).await.expect("the load works");
        (cached.skeleton.entries.len(), cached.hit)
    });
    (go, started, task)
}

async fn readers_that_miss_together_load_once<F: Feed + 'static>(feed: Arc<F>) {
    let (go, started, first) = slow_read(&feed, 3);
    started.await.expect("the load begins");
    let loads = Arc::new(AtomicUsize::new(0));
    let others: Vec<_> = (0..20)
        .map(|_| {
            let (feed, loads) = (Arc::clone(&feed), Arc::clone(&loads));
            tokio::spawn(async move {
                let load = Box::pin(async move {
                    loads.fetch_add(1, Ordering::SeqCst);
                    Ok(skeleton(9))
                });
                feed.get_or_load(USER, load).await.expect("works").skeleton.entries.len()
            })
        })
        .collect();
    tokio::task::yield_now().await;
    go.send(()).expect("the load waits");
    assert_eq!(first.await.expect("no panic"), (3, false));
    for other in others {
        assert_eq!(other.await.expect("no panic"), 3);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 0);
}

async fn a_forget_keeps_out_what_is_being_loaded<F: Feed + 'static>(feed: Arc<F>) {
    let (go, started, first) = slow_read(&feed, 3);
    started.await.expect("the load begins");
    feed.forget(&[USER]).await.expect("forgetting works");
    // A reader that starts now must not wait for, or be given, the old load.
    let fresh = tokio::time::timeout(Duration::from_secs(5), read(&*feed, USER, 4)).await;
    assert_eq!(fresh.expect("it does not wait"), (4, false));
    go.send(()).expect("the load waits");
    assert_eq!(first.await.expect("no panic"), (3, false));
    assert_eq!(read(&*feed, USER, 5).await, (4, true));
    // And once more with nobody in between.
    feed.forget(&[USER]).await.expect("forgetting works");
    let (go, started, second) = slow_read(&feed, 6);
    started.await.expect("the load begins");
    feed.forget(&[USER]).await.expect("forgetting works");
    go.send(()).expect("the load waits");
    assert_eq!(second.await.expect("no panic"), (6, false));
    assert_eq!(read(&*feed, USER, 7).await, (7, false));
}

async fn a_reader_that_gives_up_lets_the_next_load<F: Feed + 'static>(feed: Arc<F>) {
    let (_go, started, first) = slow_read(&feed, 3);
    started.await.expect("the load begins");
    let waiting = {
        let feed = Arc::clone(&feed);
        tokio::spawn(async move { read(&*feed, USER, 4).await })
    };
    tokio::task::yield_now().await;
    first.abort();
    let next = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    assert_eq!(next.expect("it does not hang").expect("no panic"), (4, false));
}
