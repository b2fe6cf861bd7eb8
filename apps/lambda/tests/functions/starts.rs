//! What functions do without anybody to call: how they start, and what they answer by themselves.
//! Every address that they are given is one where nobody listens.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kernel::clock::SystemClock;
use kernel::{Clock, Time};
use serde_json::{Value, json};

use crate::bootstraps::{Functions, program};
use crate::events::{self, Rest};
use crate::nowhere;
use crate::programs::BOOTSTRAPS;
use crate::runtime::{Function, lambdas_own};

fn functions() -> Functions {
    Functions::new(&nowhere::SETTINGS)
}

async fn started(functions: &Functions, name: &str) -> Arc<Function> {
    if name == "relay" { functions.relay("post").await } else { functions.get(name).await }
}

#[tokio::test]
async fn every_api_answers_without_a_call_to_anywhere() {
    let functions = functions();
    for name in ["users", "posts", "social", "timeline"] {
        let function = functions.get(name).await;
        let answer = function.invoke(&events::preflight()).await.unwrap();
        assert_eq!(answer["statusCode"], 204, "{name}: {answer}");
        let headers = &answer["multiValueHeaders"];
        assert_eq!(headers["access-control-allow-origin"], json!(["https://app.example"]));
        assert!(headers["strict-transport-security"].is_array(), "{name}: {headers}");
    }
}

#[tokio::test]
async fn empty_batches_and_strangers_are_answered_without_a_call_to_anywhere() {
    let functions = functions();
    for name in ["react-users", "react-posts", "react-social", "react-timeline", "relay"] {
        let function = started(&functions, name).await;
        let answer = function.invoke(&json!({"Records": []})).await.unwrap();
        assert_eq!(answer, json!({"batchItemFailures": []}), "{name}");
    }
    let function = functions.get("authorizer").await;
    let refused = function.invoke(&events::may_open(None, None)).await.unwrap_err();
    assert_eq!(refused["errorMessage"], "Unauthorized");
    for bad in ["", "a.b.c", &"x".repeat(10_000)] {
        let refused = function.invoke(&events::may_open(Some(bad), None)).await.unwrap_err();
        assert_eq!(refused["errorMessage"], "Unauthorized");
    }
}

#[tokio::test]
async fn only_the_user_service_adds_people_to_the_pool() {
    let functions = functions();
    let function = functions.get("pre-sign-up").await;
    let created = events::sign_up("PreSignUp_AdminCreateUser");
    assert_eq!(function.invoke(&created).await.unwrap(), created);
    for source in ["PreSignUp_SignUp", "PreSignUp_ExternalProvider", "new"] {
        let refused = function.invoke(&events::sign_up(source)).await.unwrap_err();
        assert_eq!(refused["errorType"], "SignUpRefused");
    }
}

#[tokio::test]
async fn events_of_another_shape_are_failures_and_end_nothing() {
    let functions = functions();
    for (name, _) in BOOTSTRAPS {
        let function = started(&functions, name).await;
        for event in [json!({"Records": [{}], "requestContext": 1}), json!("")] {
            let refused = function.invoke(&event).await;
            assert!(refused.is_err(), "{name}: {event} -> {refused:?}");
        }
    }
}

#[tokio::test]
async fn a_service_that_nobody_can_be_asked_for_is_a_503_in_time() {
    let functions = functions();
    let function = functions.get("posts").await;
    let request =
        Rest { method: "GET", path: "/health", query: Vec::new(), headers: Vec::new(), body: None };
    let answer = function.invoke(&request.event()).await.unwrap();
    assert_eq!(answer["statusCode"], 503, "{answer}");
    let health: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!(health["checks"], json!({"store": "degraded"}));
}

/// Behind the REST API the timeline's function answers for the service as a whole.
#[tokio::test]
async fn the_whole_apis_document_is_shown() {
    let functions = functions();
    let function = functions.get("timeline").await;
    let read = async |path: &str| {
        let (query, headers) = (Vec::new(), Vec::new());
        let request = Rest { method: "GET", path, query, headers, body: None };
        let answer = function.invoke(&request.event()).await.unwrap();
        assert_eq!(answer["statusCode"], 200, "{path}: {answer}");
        answer
    };
    let shown = read("/openapi.json").await;
    let shown: Value = serde_json::from_str(shown["body"].as_str().unwrap()).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let kept: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(shown, kept);
    let page = read("/docs").await;
    let media_type = page["multiValueHeaders"]["content-type"][0].as_str().unwrap();
    assert!(media_type.starts_with("text/html"), "{media_type}");
}

/// What one function asks another, in a version of the exchange.
fn invocation(version: u32, path: &str, body: &Value, deadline: Time) -> Value {
    json!({"internal": version, "path": path, "body": body, "deadline": deadline.millis()})
}

/// A read that each service answers others, and what it says to a question that is empty.
const READS: [(&str, &str); 4] = [
    ("users", "/internal/profiles"),
    ("users", "/internal/sessions/open"),
    ("posts", "/internal/posts"),
    ("social", "/internal/followers"),
];

#[tokio::test]
async fn internal_reads_are_for_functions_alone() {
    let functions = functions();
    let later = SystemClock.now() + Duration::from_secs(60);
    for (name, path) in READS {
        let function = functions.get(name).await;
        let asked = invocation(1, path, &json!({}), later);
        let answer = function.invoke(&asked).await.unwrap();
        assert_eq!(answer["status"], 422, "{path}: the question is empty");
        assert_eq!(answer["body"]["code"], "validation_failed");
        // The same by API Gateway, which tells of a signature where a route asks for one.
        let request = Rest {
            method: "POST",
            path,
            query: Vec::new(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: Some(asked.to_string()),
        };
        let mut event = request.event();
        let signer = "arn:aws:sts::000000000000:assumed-role/mini-sns-test-timeline/function";
        event["requestContext"]["identity"]["accountId"] = json!("000000000000");
        event["requestContext"]["identity"]["userArn"] = json!(signer);
        let answer = function.invoke(&event).await.unwrap();
        assert_eq!(answer["statusCode"], 404, "{path}: {answer}");
        // Neither is what claims to be both.
        event["internal"] = json!(1);
        event["deadline"] = asked["deadline"].clone();
        let refused = function.invoke(&event).await.unwrap_err();
        assert_eq!(refused["errorType"], "UnreadableEvent", "{path}");
    }
}

#[tokio::test]
async fn an_invocation_is_read_in_its_own_version_and_by_whom_it_is_for() {
    let functions = functions();
    let later = SystemClock.now() + Duration::from_secs(60);
    let ids = json!({"ids": []});
    let refused = async |name: &str, version: u32, path: &str| {
        let asked = invocation(version, path, &ids, later);
        functions.get(name).await.invoke(&asked).await.unwrap_err()["errorType"].clone()
    };
    assert_eq!(refused("posts", 2, "/internal/posts").await, "UnreadableEvent");
    assert_eq!(refused("posts", 1, "no path").await, "UnreadableEvent");
    assert_eq!(
        refused("timeline", 1, "/internal/posts").await,
        "UnreadableEvent",
        "nobody asks it"
    );
    // Nothing but the reads is behind an invocation, and of those only the service's own.
    let posts = functions.get("posts").await;
    for path in ["/internal/profiles", "/posts", "/health", "/internal/nowhere"] {
        let asked = invocation(1, path, &ids, later);
        let answer = posts.invoke(&asked).await.unwrap();
        assert_eq!(answer, json!({"status": 404, "body": null}), "{path}");
    }
}

#[tokio::test]
async fn a_function_does_nothing_for_a_caller_who_waits_no_more() {
    let functions = functions();
    let ids = json!({"ids": ["01ARZ3NDEKTSV4RRFFQ69G5FAV"]});
    let asked = invocation(1, "/internal/posts", &ids, SystemClock.now());
    let answer = functions.get("posts").await.invoke(&asked).await.unwrap();
    assert_eq!(answer["status"], 504, "{answer}");
    assert_eq!(answer["body"]["code"], "deadline_exceeded");
}

#[test]
fn a_setting_that_is_missing_ends_a_function_with_one_line() {
    for (name, _) in BOOTSTRAPS {
        let ended = Command::new(program(name))
            .env_clear()
            .envs(lambdas_own("127.0.0.1:1"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        // The trigger needs nothing, and finds no Runtime API here.
        assert_eq!(ended.status.code(), Some(2), "{name}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
        assert!(said.starts_with("mini-sns: "), "{name}: {said}");
    }
}

#[test]
fn a_word_that_no_setting_has_ends_a_function_with_one_line() {
    let ended = Command::new(program("posts"))
        .env_clear()
        .envs(lambdas_own("127.0.0.1:1"))
        .envs(nowhere::SETTINGS)
        .env("MINI_SNS_EMAIL_CONFIRMATION", "maybe")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8(ended.stderr).unwrap();
    let wanted = "one of off, limit, require is wanted";
    assert_eq!(said, format!("mini-sns: MINI_SNS_EMAIL_CONFIRMATION: {wanted}\n"));
}
