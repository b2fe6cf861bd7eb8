//! Redis killed, started again, frozen, and behind TLS.

use std::time::Duration;

use aws::redis::sockets::{Entered, RegistryLimits};
use aws::redis::{Redis, RedisFeed, RedisLimiter, Settings, SocketRegistry};
use conformance::TestClock;
use kernel::feed::Feed;
use kernel::limiter::{Bucket, Limiter, Rate};
use kernel::{Code, UserId};
use tokio::time::{Instant, timeout};

use crate::servers::{Cluster, Server, open, settings};
use crate::suites::{feed, read};

const USER: UserId = UserId(ulid::Ulid(1));
const OTHER: UserId = UserId(ulid::Ulid(2));

/// Waits until Redis is of use again, as readiness does.
async fn back(redis: &Redis) {
    let answering = async {
        while redis.check().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), answering).await.expect("Redis comes back by itself");
}

async fn goes_on_without(redis: &Redis, feed: &RedisFeed) {
    let bucket = Bucket { name: "away", rate: Rate { per_sec: 1, burst: 2 } };
    let limiter = RedisLimiter::new(redis.clone());
    let registry = SocketRegistry::new(redis.clone(), RegistryLimits::default());
    for number in 0..5 {
        assert_eq!(read(feed, USER, number).await, (usize::try_from(number).unwrap(), false));
        feed.forget(&[USER, OTHER]).await.expect("no event fails because of Redis");
        assert!(limiter.take(bucket, "a").await.unwrap().allowed);
    }
    assert_eq!(feed.check().await.unwrap_err().code, Code::Unavailable);
    assert_eq!(redis.check().await.unwrap_err().code, Code::Unavailable);
    assert_eq!(registry.enter(USER, "a").await.unwrap_err().code, Code::Unavailable);
}

#[tokio::test]
async fn redis_is_killed_and_started_again() {
    let mut server = Server::start();
    let redis = open(&settings(vec![server.url()], false));
    let feed = feed(redis.clone(), TestClock::new());
    let registry = SocketRegistry::new(redis.clone(), RegistryLimits::default());
    registry.enter(USER, "a").await.unwrap();
    assert_eq!(read(&feed, USER, 3).await, (3, false));
    assert_eq!(read(&feed, USER, 4).await, (3, true));
    feed.check().await.unwrap();
    server.kill();
    goes_on_without(&redis, &feed).await;
    server.restart();
    back(&redis).await;
    feed.check().await.unwrap();
    assert_eq!(read(&feed, USER, 5).await, (5, false));
    assert_eq!(read(&feed, USER, 6).await, (5, true));
    // The sockets' entries were lost; a sign of life enters them again, and tells that they were.
    assert_eq!(registry.connections(&[USER]).await.unwrap(), []);
    assert_eq!(registry.enter(USER, "a").await.unwrap(), Entered::New);
    assert_eq!(registry.enter(USER, "a").await.unwrap(), Entered::Known);
}

#[tokio::test]
async fn a_cluster_is_killed_and_started_again() {
    let mut cluster = Cluster::start().await;
    let redis = open(&settings(cluster.urls(), true));
    let feed = feed(redis.clone(), TestClock::new());
    assert_eq!(read(&feed, USER, 3).await, (3, false));
    assert_eq!(read(&feed, USER, 4).await, (3, true));
    cluster.nodes.iter_mut().for_each(Server::kill);
    goes_on_without(&redis, &feed).await;
    cluster.nodes.iter_mut().for_each(Server::restart);
    cluster.settled().await;
    back(&redis).await;
    assert_eq!(read(&feed, USER, 5).await, (5, false));
    assert_eq!(read(&feed, USER, 6).await, (5, true));
}

#[tokio::test]
async fn a_process_starts_before_redis_does() {
    let mut server = Server::start();
    server.kill();
    let redis = open(&settings(vec![server.url()], false));
    let feed = feed(redis.clone(), TestClock::new());
    goes_on_without(&redis, &feed).await;
    server.restart();
    back(&redis).await;
    assert_eq!(read(&feed, USER, 1).await, (1, false));
    assert_eq!(read(&feed, USER, 2).await, (1, true));
}

#[tokio::test]
async fn a_frozen_redis_holds_nobody_up_for_long() {
    let server = Server::start();
    let settings = Settings {
        answer_timeout: Duration::from_millis(100),
        rest: Duration::from_secs(60),
        ..settings(vec![server.url()], false)
    };
    let redis = open(&settings);
    let feed = feed(redis.clone(), TestClock::new());
    assert_eq!(read(&feed, USER, 3).await, (3, false));
    server.signal("-STOP");
    let began = Instant::now();
    for _ in 0..200 {
        assert_eq!(read(&feed, USER, 4).await, (4, false));
    }
    // One has waited for an answer; the others were not even asked for.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    server.signal("-CONT");
}

#[tokio::test]
async fn what_was_forgotten_meanwhile_is_never_shown() {
    let server = Server::start();
    let base = settings(vec![server.url()], false);
    let hasty = Settings {
        answer_timeout: Duration::from_millis(100),
        rest: Duration::from_secs(1),
        ..base.clone()
    };
    let clock = TestClock::new();
    let redis = open(&hasty);
    let here = feed(redis.clone(), clock.clone());
    assert_eq!(read(&here, USER, 3).await, (3, false));
    assert_eq!(read(&here, OTHER, 3).await, (3, false));
    // It holds on to what it has, unlike one that is killed, and hears of no forget: nobody asks it
    // after the first time-out.
    server.signal("-STOP");
    here.check().await.unwrap_err();
    here.forget(&[USER]).await.unwrap();
    assert_eq!(read(&here, USER, 4).await, (4, false));
    server.signal("-CONT");
    back(&redis).await;
    assert_eq!(read(&here, USER, 5).await, (5, false), "the old one was to be dropped");
    assert_eq!(read(&here, OTHER, 6).await, (3, true), "this one was not");
    here.check().await.unwrap();
    let there = feed(open(&base), clock);
    assert_eq!(read(&there, USER, 7).await, (5, true));
}

#[tokio::test]
async fn what_is_owed_is_bounded() {
    let mut server = Server::start();
    let redis = open(&settings(vec![server.url()], false));
    server.kill();
    let feed = feed(redis, TestClock::new());
    let users: Vec<UserId> = (0..100_000_u128).map(|number| UserId(number.into())).collect();
    feed.forget(&users).await.unwrap();
    let refused = feed.forget(&[UserId(200_000_u128.into())]).await.unwrap_err();
    assert_eq!(refused.code, Code::Unavailable);
    // However much that is, no read takes longer for it.
    let began = Instant::now();
    for _ in 0..1000 {
        assert_eq!(read(&feed, USER, 3).await, (3, false));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn redis_is_reached_over_tls() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let server = Server::with(|port, dir| {
        let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        std::fs::write(&cert, &pem).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        let options = ["--port", "0", "--tls-port", &port.to_string(), "--tls-cert-file", &cert];
        let more = ["--tls-key-file", &key, "--tls-auth-clients", "no"];
        options.iter().chain(&more).map(|text| (*text).to_owned()).collect()
    });
    let url = format!("rediss://127.0.0.1:{}", server.port);
    let trusting =
        Settings { ca_pem: Some(pem.clone().into_bytes()), ..settings(vec![url.clone()], false) };
    open(&trusting).check().await.unwrap();
    let doubting = open(&settings(vec![url], false));
    doubting.check().await.expect_err("nobody we know has signed it");
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_refused_at_once() {
    for cluster in [false, true] {
        let url = "http://127.0.0.1".to_owned();
        assert!(Redis::open(&settings(vec![url], cluster)).is_err());
    }
}
