//! Peers that are away, slow, or answer nonsense; retries, deadlines and breakers.

use std::time::Duration;

use aws::peers::{PeersLimits, RemotePeers};
use kernel::peers::Peers;
use kernel::request::{Scope, within};
use kernel::{Code, PostId, Problem, UserId};
use serde_json::json;
use tokio::time::Instant;

use crate::server::{Server, Way, limits, peers};

const POST: PostId = PostId(ulid::Ulid(2));

fn good() -> Way {
    Way::json(&json!([1]))
}

async fn ask(peers: &RemotePeers) -> Result<Vec<u64>, Problem> {
    peers.like_counts(&[POST]).await
}

async fn ask_in(peers: &RemotePeers, budget: Duration) -> Result<Vec<u64>, Problem> {
    within(Scope::until(Instant::now() + budget), ask(peers)).await
}

fn cause(problem: &Problem) -> String {
    problem.cause.as_ref().map_or(String::new(), ToString::to_string)
}

#[tokio::test]
async fn nonsense_is_a_failure() {
    let (server, address) = Server::start().await;
    let (peers, _) = peers(&address, limits());
    let with = |body: &str| Way::With(200, "application/json", body.to_owned());
    let nonsense = ["", "<html>", "{}", "[-1]", "[1,2]", "[]", "[1", "null"].map(with);
    for way in nonsense {
        server.answers([way.clone()]);
        let problem = ask(&peers).await.unwrap_err();
        assert_eq!(problem.code, Code::Unavailable, "{way:?}");
        assert!(cause(&problem).contains("cannot be read"), "{way:?}");
        server.answers([good()]);
        ask(&peers).await.unwrap();
    }
    for way in [
        Way::With(302, "text/html", String::new()),
        Way::With(404, "text/html", "nginx".to_owned()),
        Way::With(502, "application/problem+json", "{".to_owned()),
        Way::With(204, "application/json", String::new()),
    ] {
        server.answers([way.clone()]);
        assert_eq!(ask(&peers).await.unwrap_err().code, Code::Unavailable, "{way:?}");
    }
}

#[tokio::test]
async fn what_is_too_large_for_an_answer_is_asked_for_in_halves() {
    let (server, address) = Server::start().await;
    let (peers, _) = peers(&address, PeersLimits { answer_max_bytes: 1000, ..limits() });
    let large = || Way::json(&json!(vec![1; 1000]));
    server.answers([large(), Way::json(&json!([1, 2])), Way::json(&json!([3, 4])), good()]);
    assert_eq!(peers.like_counts(&[POST; 5]).await.unwrap(), [1, 2, 3, 4, 1]);
    let lengths: Vec<_> =
        server.asked().iter().map(|asked| asked.body["ids"].as_array().unwrap().len()).collect();
    assert_eq!(lengths, [5, 2, 2, 1]);
    // Newest posts go on after the oldest that has come, to where there are no more.
    let post = |id: u128| {
        json!({"postId": PostId(id.into()), "authorId": UserId(1.into()),
        "text": "t", "createdAt": "2026-01-01T00:00:00.000Z"})
    };
    let posts =
        |ids: &[u128]| Way::json(&json!(ids.iter().map(|id| post(*id)).collect::<Vec<_>>()));
    server.answers([large(), posts(&[9, 8]), posts(&[7])]);
    let newest = peers.newest_posts(UserId(1.into()), None, 5).await.unwrap();
    let newest: Vec<_> = newest.iter().map(|post| post.post_id.0.0).collect();
    assert_eq!(newest, [9, 8, 7]);
    let asked = server.asked();
    assert_eq!(asked[2].body["before"], json!(PostId(8.into())));
    assert_eq!(asked[2].body["limit"], 2);
    // One that is too large by itself stays a failure, and no breaker's.
    server.answers([large()]);
    for _ in 0..6 {
        assert_eq!(ask(&peers).await.unwrap_err().code, Code::Unavailable);
    }
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn more_followers_than_asked_for_are_no_answer() {
    let (server, address) = Server::start().await;
    let (peers, _) = peers(&address, limits());
    let user = UserId(1.into());
    server.answers([Way::json(&json!({"users": [user, user], "next": null}))]);
    assert_eq!(peers.followers(user, None, 1).await.unwrap_err().code, Code::Unavailable);
    peers.followers(user, None, 2).await.unwrap();
}

#[tokio::test]
async fn five_failures_open_the_breaker_of_that_target_until_a_probe_closes_it() {
    let (server, address) = Server::start().await;
    let (peers, clock) = peers(&address, limits());
    server.answers([Way::problem(503, "unavailable")]);
    for _ in 0..5 {
        ask(&peers).await.unwrap_err();
    }
    let problem = ask(&peers).await.unwrap_err();
    assert!(cause(&problem).contains("breaker of the social service is open"));
    assert_eq!(server.asked().len(), 5, "the sixth was not sent");
    // The others are well.
    server.answers([Way::json(&json!([null]))]);
    peers.posts(&[POST]).await.unwrap();
    clock.advance(Duration::from_millis(29_999));
    ask(&peers).await.unwrap_err();
    assert_eq!(server.asked().len(), 1);
    // Half open: a probe that fails opens it for as long again.
    clock.advance(Duration::from_millis(1));
    server.answers([Way::problem(500, "internal")]);
    ask(&peers).await.unwrap_err();
    ask(&peers).await.unwrap_err();
    assert_eq!(server.asked().len(), 1, "one probe");
    clock.advance(Duration::from_secs(30));
    server.answers([good()]);
    for _ in 0..3 {
        ask(&peers).await.unwrap();
    }
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn refusals_open_no_breaker() {
    let (server, address) = Server::start().await;
    let (peers, _) = peers(&address, limits());
    for (status, code) in
        [(404, "not_found"), (422, "validation_failed"), (401, "unauthenticated"), (429, "x")]
    {
        server.answers([Way::problem(status, code)]);
        for _ in 0..6 {
            ask(&peers).await.unwrap_err();
        }
        assert_eq!(server.asked().len(), 6, "{status}");
    }
}

#[tokio::test]
async fn a_process_that_was_killed_opens_the_breaker() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (peers, _) = peers(&address, limits());
    for _ in 0..5 {
        let problem = ask(&peers).await.unwrap_err();
        assert_eq!(problem.code, Code::Unavailable);
        assert!(cause(&problem).contains("no connection"), "{}", cause(&problem));
    }
    assert!(cause(&ask(&peers).await.unwrap_err()).contains("is open"));
}

#[tokio::test]
async fn a_slow_peer_leaves_its_caller_time_to_do_without() {
    let (server, address) = Server::start().await;
    let attempt_fair = Duration::from_millis(200);
    let limits = PeersLimits { attempt_fair, spare: Duration::from_millis(300), ..limits() };
    let (peers, _) = peers(&address, limits);
    server.answers([Way::Never]);
    for _ in 0..5 {
        let began = Instant::now();
        let problem = ask_in(&peers, Duration::from_millis(700)).await.unwrap_err();
        assert_eq!(problem.code, Code::Unavailable);
        assert!(cause(&problem).contains("no answer in time"));
        assert!(began.elapsed() < Duration::from_millis(700), "{:?}", began.elapsed());
    }
    // Slowness counts: now nobody waits any more.
    assert!(cause(&ask(&peers).await.unwrap_err()).contains("is open"));
}

#[tokio::test]
async fn a_caller_in_a_hurry_says_nothing_about_the_peer() {
    let (server, address) = Server::start().await;
    let (peers, _) = peers(&address, limits());
    server.answers([Way::Never]);
    for _ in 0..10 {
        ask_in(&peers, Duration::from_millis(120)).await.unwrap_err();
    }
    let late = ask_in(&peers, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(late.code, Code::DeadlineExceeded);
    server.answers([good()]);
    ask(&peers).await.unwrap();
}

#[tokio::test]
async fn a_handlers_reads_are_tried_again_and_a_requests_are_not() {
    let (server, address) = Server::start().await;
    let retries = [1, 2, 4].map(|pause| Duration::from_millis(pause * 20)).to_vec();
    let retry_min = Duration::from_secs(2);
    let (peers, _) = peers(&address, PeersLimits { retries, retry_min, ..limits() });
    let failing = || vec![Way::problem(503, "unavailable"); 3];
    server.answers(failing().into_iter().chain([good()]));
    let began = Instant::now();
    assert_eq!(ask(&peers).await.unwrap(), [1], "the fourth attempt is answered");
    assert!(began.elapsed() >= Duration::from_millis(140), "{:?}", began.elapsed());
    assert_eq!(server.asked().len(), 4);
    // With less time left than a pause and an attempt take, it is told at once.
    server.answers(failing());
    ask_in(&peers, Duration::from_millis(1_500)).await.unwrap_err();
    assert_eq!(server.asked().len(), 1);
    server.answers([Way::problem(422, "validation_failed")]);
    ask(&peers).await.unwrap_err();
    assert_eq!(server.asked().len(), 1, "a refusal stays one");
}

#[test]
fn the_usual_pauses_fit_a_handlers_call_and_no_requests() {
    let limits = PeersLimits::default();
    let fits = |budget: Duration| {
        let mut left = budget - limits.spare;
        limits
            .retries
            .iter()
            .take_while(|pause| {
                let fits = left >= **pause + limits.retry_min;
                left = left.saturating_sub(**pause);
                fits
            })
            .count()
    };
    assert_eq!(fits(limits.call_timeout), 3);
    assert_eq!(fits(Duration::from_millis(2_500)), 0);
}
