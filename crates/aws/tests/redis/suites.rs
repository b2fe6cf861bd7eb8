//! The suites of the seams.

use std::sync::Arc;

use aws::redis::feed::FeedLimits;
use aws::redis::{Redis, RedisFeed, RedisLimiter, Settings};
use conformance::feed::skeleton;
use kernel::clock::SystemClock;
use kernel::feed::Feed;
use kernel::ids::SystemIds;
use kernel::limiter::{Bucket, Limiter, Rate};
use kernel::{Clock, UserId};

use crate::servers::{Cluster, Server, open, settings};

pub(crate) fn feed(redis: Redis, clock: Arc<dyn Clock>) -> Arc<RedisFeed> {
    let ids = Arc::new(SystemIds::new(Arc::new(SystemClock)));
    RedisFeed::new(redis, FeedLimits::default(), clock, ids)
}

/// Reads through the cache: how many entries came, and whether they were cached.
pub(crate) async fn read(feed: &RedisFeed, user: UserId, entries: u64) -> (usize, bool) {
    let load = Box::pin(async move { Ok(skeleton(entries)) });
    let cached = feed.get_or_load(user, load).await.expect("no read fails because of Redis");
    (cached.skeleton.entries.len(), cached.hit)
}

/// Every case has a prefix, so a Redis, of its own.
fn fresh(urls: &[String]) -> Settings {
    settings(urls.to_vec(), urls.len() > 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_a_feed() {
    let server = Server::start();
    let urls = [server.url()];
    conformance::feed::suite(|clock| feed(open(&fresh(&urls)), clock)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_a_feed_on_a_cluster() {
    let cluster = Cluster::start().await;
    let urls = cluster.urls();
    conformance::feed::suite(|clock| feed(open(&fresh(&urls)), clock)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_a_limiter() {
    let server = Server::start();
    let (urls, whole) = ([server.url()], open(&settings(vec![server.url()], false)));
    whole.check().await.unwrap();
    conformance::limiter::suite(|clock| RedisLimiter::by_clock(open(&fresh(&urls)), clock)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_a_limiter_on_a_cluster() {
    let cluster = Cluster::start().await;
    let urls = cluster.urls();
    conformance::limiter::suite(|clock| RedisLimiter::by_clock(open(&fresh(&urls)), clock)).await;
}

#[tokio::test]
async fn the_servers_own_clock_fills_buckets_too() {
    let server = Server::start();
    let limiter = RedisLimiter::new(open(&settings(vec![server.url()], false)));
    let bucket = Bucket { name: "own", rate: Rate { per_sec: 20, burst: 3 } };
    for remaining in (0..3).rev() {
        let taken = limiter.take(bucket, "a").await.unwrap();
        assert!(taken.allowed && taken.remaining >= remaining, "{taken:?}");
    }
    // A token takes 50 ms; the test may be slower than that, and then has it already.
    let refused = limiter.take(bucket, "a").await.unwrap();
    assert!(refused.retry_after_ms <= 50, "{refused:?}");
    tokio::time::sleep(std::time::Duration::from_millis(refused.retry_after_ms)).await;
    assert!(limiter.take(bucket, "a").await.unwrap().allowed);
}
