//! The cache of feeds as several processes share it.

use std::sync::Arc;
use std::time::Duration;

use aws::redis::RedisFeed;
use conformance::TestClock;
use conformance::feed::skeleton;
use kernel::UserId;
use kernel::feed::Feed;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::servers::{Cluster, Server, open, settings};
use crate::suites::{feed, read};

const USER: UserId = UserId(ulid::Ulid(1));

/// A read whose load has begun, and waits.
async fn slow_read(
    feed: &Arc<RedisFeed>,
    entries: u64,
) -> (oneshot::Sender<()>, JoinHandle<(usize, bool)>) {
    let (go, wait) = oneshot::channel();
    let (begun, started) = oneshot::channel();
    let feed = Arc::clone(feed);
    let task = tokio::spawn(async move {
        let load = Box::pin(async move {
            let _ = begun.send(());
            let _ = wait.await;
            Ok(skeleton(entries))
        });
        let cached = feed.get_or_load(USER, load).await.unwrap();
        (cached.skeleton.entries.len(), cached.hit)
    });
    started.await.unwrap();
    (go, task)
}

/// Two processes on one Redis.
fn two(urls: Vec<String>) -> (Arc<RedisFeed>, Arc<RedisFeed>) {
    let (cluster, clock) = (urls.len() > 1, TestClock::new());
    let settings = settings(urls, cluster);
    (feed(open(&settings), clock.clone()), feed(open(&settings), clock))
}

async fn processes_share_and_forget((one, two): (Arc<RedisFeed>, Arc<RedisFeed>)) {
    assert_eq!(read(&one, USER, 3).await, (3, false));
    assert_eq!(read(&two, USER, 4).await, (3, true));
    two.forget(&[USER]).await.unwrap();
    // Loaded here before a forget there: answered, not kept, and nobody joins it afterwards.
    let (go, old) = slow_read(&one, 5).await;
    two.forget(&[USER]).await.unwrap();
    assert_eq!(read(&one, USER, 6).await, (6, false));
    go.send(()).unwrap();
    assert_eq!(old.await.unwrap(), (5, false));
    assert_eq!(read(&two, USER, 7).await, (6, true));
    // Both miss together: neither waits for the other, and one of them is kept.
    one.forget(&[USER]).await.unwrap();
    let (go, slow) = slow_read(&one, 8).await;
    assert_eq!(read(&two, USER, 9).await, (9, false));
    go.send(()).unwrap();
    assert_eq!(slow.await.unwrap(), (8, false));
    assert_eq!(read(&one, USER, 1).await, (9, true));
    // Neither load is kept when one forget came in between.
    one.forget(&[USER]).await.unwrap();
    let (first, one_loads) = slow_read(&one, 2).await;
    let (second, two_loads) = slow_read(&two, 3).await;
    two.forget(&[USER]).await.unwrap();
    first.send(()).unwrap();
    second.send(()).unwrap();
    assert_eq!(one_loads.await.unwrap(), (2, false));
    assert_eq!(two_loads.await.unwrap(), (3, false));
    assert_eq!(read(&one, USER, 4).await, (4, false));
}

#[tokio::test]
async fn processes_share_what_one_has_loaded() {
    let server = Server::start();
    processes_share_and_forget(two(vec![server.url()])).await;
}

#[tokio::test]
async fn processes_share_a_cluster() {
    let cluster = Cluster::start().await;
    processes_share_and_forget(two(cluster.urls())).await;
}

async fn thousands_are_forgotten(urls: Vec<String>) {
    let (feed, _) = two(urls);
    let users: Vec<UserId> = (0..5_000_u128).map(|number| UserId(number.into())).collect();
    for user in users.iter().step_by(500) {
        assert_eq!(read(&feed, *user, 1).await, (1, false));
    }
    feed.forget(&users).await.unwrap();
    for user in users.iter().step_by(500) {
        assert_eq!(read(&feed, *user, 2).await, (2, false));
    }
}

#[tokio::test]
async fn thousands_are_forgotten_at_once() {
    let server = Server::start();
    thousands_are_forgotten(vec![server.url()]).await;
}

#[tokio::test]
async fn thousands_are_forgotten_at_once_on_a_cluster() {
    let cluster = Cluster::start().await;
    thousands_are_forgotten(cluster.urls()).await;
}

#[tokio::test]
async fn an_entry_expires_by_the_servers_clock_too() {
    let server = Server::start();
    let settings = settings(vec![server.url()], false);
    let clock = TestClock::new();
    let feed = feed(open(&settings), clock.clone());
    let (go, old) = slow_read(&feed, 3).await;
    // The load takes 20 s: what is left of the minute is what Redis is told.
    clock.advance(Duration::from_secs(20));
    go.send(()).unwrap();
    assert_eq!(old.await.unwrap(), (3, false));
    let client = redis::Client::open(server.url()).unwrap();
    let mut link = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{}:feed:{{{USER}}}", settings.prefix);
    let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut link).await.unwrap();
    assert!((30_000..=40_000).contains(&left), "{left} ms");
}

#[tokio::test]
async fn what_cannot_be_read_is_loaded_anew() {
    let server = Server::start();
    let settings = settings(vec![server.url()], false);
    let feed = feed(open(&settings), TestClock::new());
    let client = redis::Client::open(server.url()).unwrap();
    let mut link = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{}:feed:{{{USER}}}", settings.prefix);
    for odd in ["", "{}", "S", "{\"loaded\":1}"] {
        redis::cmd("SET").arg(&key).arg(odd).exec_async(&mut link).await.unwrap();
        assert_eq!(read(&feed, USER, 3).await, (3, false), "{odd}");
        assert_eq!(read(&feed, USER, 4).await, (3, true), "{odd}");
    }
}
