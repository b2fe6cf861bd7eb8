//! Functions that ask functions by Lambda's Invoke.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use aws::peers::RemotePeers;
use aws_credential_types::Credentials;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use kernel::identity::session::Sessions;
use kernel::internal::Invocation;
use kernel::peers::Peers;
use kernel::request::{Scope, within};
use kernel::trace::TraceContext;
use kernel::{Clock, Code, PostId, Problem, UserId};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::server::{Server, Way, functions};

const POST: PostId = PostId(ulid::Ulid(2));

fn role() -> SharedCredentialsProvider {
    let session = Some("session".to_owned());
    SharedCredentialsProvider::new(Credentials::new("AKID", "secret", session, None, "test"))
}

async fn ask(peers: &RemotePeers) -> Result<Vec<u64>, Problem> {
    peers.like_counts(&[POST]).await
}

/// The function's own answer.
fn reply(status: u16, body: &Value) -> Way {
    Way::json(&json!({"status": status, "body": body}))
}

fn good() -> Way {
    reply(200, &json!([1]))
}

/// Lambda's refusal.
fn refused(status: u16, kind: &'static str) -> Way {
    let body = json!({"Type": "User", "message": "No."}).to_string();
    Way::Saying(status, ("x-amzn-errortype", kind), body)
}

/// What Lambda answers of a function that ran and failed.
fn broken(kind: &str, message: &str) -> Way {
    let body = json!({"errorType": kind, "errorMessage": message}).to_string();
    Way::Saying(200, ("x-amz-function-error", "Unhandled"), body)
}

#[tokio::test]
async fn a_function_is_invoked_by_its_alias_with_a_signature() {
    let (server, address) = Server::start().await;
    let (peers, clock) = functions(&address, role());
    server.answers([good()]);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let deadline = Instant::now() + Duration::from_secs(2);
    let scope = Scope { trace: TraceContext::parse(trace), ..Scope::until(deadline) };
    assert_eq!(within(scope, ask(&peers)).await.unwrap(), [1]);
    let asked = &server.asked()[0];
    // The colon as the SDKs write it, whose signature is over this very path.
    assert_eq!(asked.path, "/stage/2015-03-31/functions/mini-sns-test-social%3Alive/invocations");
    let signature = asked.header("authorization");
    let scope = "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/lambda/aws4_request";
    assert!(signature.starts_with(scope), "{signature}");
    assert!(signature.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token"));
    assert_eq!(asked.header("x-amz-date"), "20260101T000000Z");
    assert_eq!(asked.header("x-amz-security-token"), "session");
    let event: Invocation = serde_json::from_value(asked.body.clone()).unwrap();
    assert_eq!((event.internal, event.path.as_str()), (1, "/internal/likes/counts"));
    assert_eq!(event.body.get(), json!({"ids": [POST]}).to_string());
    assert_eq!(event.traceparent.as_deref(), Some(trace));
    let left = event.deadline - clock.now().millis();
    assert!((1..=2_000).contains(&left), "{left}");
}

#[tokio::test]
async fn each_service_has_its_function() {
    let (server, address) = Server::start().await;
    let (peers, _) = functions(&address, role());
    server.answers([json!([true]), json!([true]), json!([7])].map(|answer| reply(200, &answer)));
    assert!(peers.is_open(UserId(1.into()), "session").await.unwrap());
    assert_eq!(peers.posts_exist(&[POST]).await.unwrap(), [true]);
    assert_eq!(peers.like_counts(&[POST]).await.unwrap(), [7]);
    let paths = server.asked().into_iter().map(|asked| asked.path);
    let names: Vec<_> = paths.map(|path| path.split('/').nth(4).unwrap().to_owned()).collect();
    let name = |service: &str| format!("mini-sns-test-{service}%3Alive");
    assert_eq!(names, [name("users"), name("posts"), name("social")]);
}

#[tokio::test]
async fn a_functions_refusal_comes_back_as_its_problem() {
    let (server, address) = Server::start().await;
    let (peers, _) = functions(&address, role());
    let problem = json!({"code": "validation_failed", "detail": "Not so.",
        "errors": [{"field": "ids", "message": "too many"}]});
    server.answers([reply(422, &problem)]);
    let refused = ask(&peers).await.unwrap_err();
    assert_eq!((refused.code, refused.detail.as_ref()), (Code::ValidationFailed, "Not so."));
    assert_eq!(refused.errors[0].field, "ids");
    server.answers([reply(503, &json!({"code": "unavailable", "detail": ""}))]);
    assert_eq!(ask(&peers).await.unwrap_err().code, Code::Unavailable);
    server.answers([reply(404, &Value::Null)]);
    let unknown = ask(&peers).await.unwrap_err();
    assert_eq!(unknown.code, Code::Unavailable, "an older function does not know the read");
}

/// What Lambda itself answers, and whether the breaker counts it.
#[tokio::test]
async fn what_lambda_says_is_told_from_what_the_function_says() {
    let timed_out = broken("Sandbox.Timedout", "Task timed out after 3.00 seconds");
    for (way, code, cause, counts) in [
        (refused(429, "TooManyRequestsException"), Code::Unavailable, "too much to do", false),
        (refused(403, "AccessDeniedException"), Code::Internal, "did not take our proof", false),
        (refused(404, "ResourceNotFoundException"), Code::Unavailable, "ResourceNotFound", true),
        (refused(413, "RequestTooLargeException"), Code::Unavailable, "RequestTooLarge", true),
        (refused(500, "ServiceException"), Code::Unavailable, "ServiceException", true),
        (refused(502, "EC2UnexpectedException"), Code::Unavailable, "EC2Unexpected", true),
        (timed_out, Code::Unavailable, "Sandbox.Timedout", true),
        (broken("UnreadableEvent", "no"), Code::Unavailable, "UnreadableEvent", true),
        (Way::With(200, "application/json", "null".into()), Code::Unavailable, "be read", true),
        (Way::With(200, "text/html", "<html>".into()), Code::Unavailable, "be read", true),
        (reply(99, &Value::Null), Code::Unavailable, "be read", true),
    ] {
        let (server, address) = Server::start().await;
        let (peers, _) = functions(&address, role());
        server.answers([way.clone()]);
        for _ in 0..5 {
            let problem = ask(&peers).await.unwrap_err();
            assert_eq!(problem.code, code, "{way:?}");
            let told = problem.cause.unwrap().to_string();
            assert!(told.contains(cause), "{way:?}: {told}");
        }
        let before = server.asked().len();
        ask(&peers).await.unwrap_err();
        assert_eq!(server.asked().len() == before, counts, "{way:?}");
    }
}

#[tokio::test]
async fn what_is_too_large_for_a_reply_is_asked_for_in_halves() {
    let (server, address) = Server::start().await;
    let (peers, _) = functions(&address, role());
    server.answers([reply(413, &Value::Null), good()]);
    assert_eq!(peers.like_counts(&[POST; 2]).await.unwrap(), [1, 1]);
    assert_eq!(server.asked().len(), 3);
}

/// Credentials that end, numbered as they are given.
#[derive(Clone, Debug, Default)]
struct Ending(Arc<AtomicUsize>);

impl ProvideCredentials for Ending {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        // An hour after the test's clock begins.
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + 3600);
        let key = format!("AKID{number}");
        Provided::ready(Ok(Credentials::new(key, "secret", None, Some(end), "test")))
    }
}

#[tokio::test]
async fn credentials_are_kept_until_they_end_or_are_refused() {
    let (server, address) = Server::start().await;
    let given = Ending::default();
    let provider = SharedCredentialsProvider::new(given.clone());
    let (peers, clock) = functions(&address, provider);
    let keys = || -> Vec<String> {
        let asked = server.asked();
        let key = |text: &str| text.split(['=', '/']).nth(1).unwrap().to_owned();
        asked.iter().map(|asked| key(asked.header("authorization"))).collect()
    };
    server.answers([good()]);
    ask(&peers).await.unwrap();
    ask(&peers).await.unwrap();
    assert_eq!(keys(), ["AKID0", "AKID0"]);
    // Refused before their time: others are fetched, once.
    let expired = refused(403, "ExpiredTokenException");
    server.answers([expired.clone(), good()]);
    ask(&peers).await.unwrap();
    assert_eq!(keys(), ["AKID0", "AKID1"]);
    server.answers([expired]);
    assert_eq!(ask(&peers).await.unwrap_err().code, Code::Internal);
    assert_eq!(keys(), ["AKID1", "AKID2"]);
    // Near their end they are replaced in time.
    server.answers([good()]);
    clock.advance(Duration::from_mins(56));
    ask(&peers).await.unwrap();
    assert_eq!(keys(), ["AKID3"]);
}
