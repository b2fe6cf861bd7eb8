//! The flows of the architecture document, through the functions.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::person::{PASSWORD, Person};
use crate::runtime::TRACE;
use crate::stage::Stage;

/// R3.1, R3.3, R3.4: register, follow, post, like, delete.
#[tokio::test]
async fn a_post_finds_its_way_and_back() {
    let stage = Stage::new().await;
    let (author, reader) =
        (Person::register(&stage, "hanako").await, Person::register(&stage, "taro").await);
    let me = author.get("/users/me").await;
    assert_eq!((&me["email"], &me["handle"]), (&json!("hanako@example.com"), &json!("hanako")));

    let before = author.post("before anybody followed").await;
    stage.settled().await;
    assert_eq!(reader.timeline().await, Vec::<String>::new());
    reader.ask(Method::POST, &format!("/users/{}/follow", author.id), None, 200).await;
    stage.settled().await;
    assert_eq!(reader.timeline().await, [before.as_str()], "a follow brings the newest posts");

    let post = author.post("おはよう 🌅").await;
    stage.settled().await;
    for person in [&author, &reader] {
        assert_eq!(person.timeline().await, [post.as_str(), &before]);
    }
    reader.ask(Method::POST, &format!("/posts/{post}/likes"), None, 200).await;
    let page = reader.get("/timeline?limit=1").await;
    assert_eq!(page["items"][0]["liked"], true);
    assert_eq!(page["items"][0]["author"]["handle"], "hanako");
    assert_eq!(page["items"][0]["post"]["text"], "おはよう 🌅");

    author.ask(Method::DELETE, &format!("/posts/{post}"), None, 204).await;
    assert_eq!(reader.timeline().await, [before.as_str()], "gone at once");
    stage.settled().await;
    assert_eq!(reader.timeline().await, [before]);
    reader.ask(Method::GET, &format!("/posts/{post}/likes"), None, 404).await;
    nothing_secret_is_logged(&stage, &[&author.token, &reader.token]).await;
    // R8.4: whom a function asks goes on with the trace that it is part of.
    let traces = stage.functions().asked();
    assert!(!traces.is_empty() && traces.iter().all(|trace| trace == TRACE), "{traces:?}");
}

/// The account goes, and with it everything it had.
#[tokio::test]
async fn a_deleted_account_is_gone_everywhere() {
    let stage = Stage::new().await;
    let (author, reader) =
        (Person::register(&stage, "hanako").await, Person::register(&stage, "taro").await);
    reader.ask(Method::POST, &format!("/users/{}/follow", author.id), None, 200).await;
    let post = author.post("soon gone").await;
    stage.settled().await;
    assert_eq!(reader.timeline().await, [post.as_str()]);
    let password = json!({"password": PASSWORD});
    author.ask(Method::DELETE, "/users/me", Some(password), 202).await;
    stage.settled().await;
    assert_eq!(reader.timeline().await, Vec::<String>::new());
    reader.ask(Method::GET, &format!("/posts/{post}"), None, 404).await;
    reader.ask(Method::GET, &format!("/users/{}", author.id), None, 404).await;
    assert_eq!(author.open("late").await.err(), Some(401));
    // A function that has seen the session a moment ago asks for it anew after two seconds.
    let signed_out = async {
        let url = format!("{}/posts", stage.url);
        while stage.http.get(&url).bearer_auth(&author.token).send().await.unwrap().status() != 401
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), signed_out).await.unwrap();
}

/// Live frames over a socket that API Gateway keeps.
#[tokio::test]
async fn sockets_are_greeted_told_and_resumed() {
    let stage = Stage::new().await;
    let (author, reader) =
        (Person::register(&stage, "hanako").await, Person::register(&stage, "taro").await);
    reader.ask(Method::POST, &format!("/users/{}/follow", author.id), None, 200).await;
    stage.settled().await;
    let mut socket = reader.open("first=").await.unwrap();
    socket.say(&json!({"type": "ping"})).await;
    let hello = socket.frame().await;
    assert_eq!(hello["type"], "hello");
    assert_eq!(
        (&hello["connectionId"], &hello["heartbeatSeconds"]),
        (&json!("first="), &json!(540))
    );
    assert_eq!(socket.frame().await, json!({"type": "pong"}));

    let post = author.post("to whoever listens").await;
    stage.settled().await;
    let entry = socket.frame().await;
    assert_eq!(
        (&entry["type"], &entry["data"]["post"]["postId"]),
        (&json!("timeline.entry"), &json!(post))
    );
    socket.say(&json!({"type": "ping"})).await;
    assert_eq!(socket.kinds(), ["pong"], "it is greeted once");
    socket.end().await;

    // Away, and back by the hello's cursor: nothing is lost.
    let missed = author.post("while nobody listened").await;
    author.ask(Method::DELETE, &format!("/posts/{post}"), None, 204).await;
    stage.settled().await;
    let mut again = reader.open("second=").await.unwrap();
    again.say(&json!({"type": "resume", "cursor": hello["cursor"]})).await;
    assert_eq!(again.frame().await["type"], "hello");
    let mut told = [again.frame().await, again.frame().await];
    told.sort_by_key(|frame| frame["type"].as_str().unwrap().to_owned());
    assert_eq!(told[0]["data"]["post"]["postId"], missed);
    assert_eq!(told[1], json!({"type": "timeline.removed", "data": {"postId": post}}));
    again.say(&json!({"type": "resume", "cursor": "nonsense"})).await;
    assert_eq!(again.frame().await["code"], "invalid_cursor");

    // Redis has lost the socket for a while; it has missed frames, and is told so.
    let mut lost = reader.open("third=").await.unwrap();
    lost.say(&json!({"type": "ping"})).await;
    assert_eq!(lost.kinds(), ["hello", "pong"]);
    forget(&stage, &lost.known, "third=").await;
    lost.say(&json!({"type": "ping"})).await;
    assert_eq!(lost.kinds(), ["hello", "resync", "pong"]);

    // Signed out: the next message ends the socket.
    let logout = json!({"refreshToken": reader.refresh_token});
    reader.ask(Method::POST, "/auth/logout", Some(logout), 204).await;
    again.say(&json!({"type": "ping"})).await;
    let last = again.frame().await;
    assert_eq!((&last["type"], &last["code"]), (&json!("error"), &json!("4401")));
    assert!(again.is_closed());
    nothing_secret_is_logged(&stage, &[&author.token, &reader.token]).await;
}

/// What Redis does not remember any more, as after a restart: as if the socket had ended.
async fn forget(stage: &Stage, known: &Value, id: &str) {
    let function = stage.functions().get("socket-disconnect").await;
    let ended = crate::events::socket("$disconnect", id, known);
    assert_eq!(function.invoke(&ended).await.unwrap()["statusCode"], 200);
}

/// R2.9: what CloudWatch takes out of the functions' logs, and nothing that it would bill beside.
#[tokio::test]
async fn custom_metrics_are_in_the_log() {
    let stage = Stage::new().await;
    let (author, reader) =
        (Person::register(&stage, "hanako").await, Person::register(&stage, "taro").await);
    reader.ask(Method::POST, &format!("/users/{}/follow", author.id), None, 200).await;
    let closed = reader.open("closed=").await.unwrap();
    let lost = reader.open("lost=").await.unwrap();
    author.post("to whoever listens").await;
    stage.settled().await;
    closed.end_with(1001).await;
    lost.end_with(1006).await;
    let metrics = async || {
        let mut metrics = BTreeMap::<String, Vec<f64>>::new();
        for line in stage.functions().log().await {
            let line: Value = serde_json::from_str(&line).unwrap();
            let Some(directive) = line["_aws"]["CloudWatchMetrics"].get(0) else { continue };
            assert_eq!(
                (&directive["Namespace"], &line["environment"]),
                (&json!("MiniSNS"), &json!(stage.env))
            );
            for metric in directive["Metrics"].as_array().unwrap() {
                let name = metric["Name"].as_str().unwrap();
                let values = line[name].as_array().unwrap().iter().map(|it| it.as_f64().unwrap());
                let name = format!("{name} {}", line["kind"].as_str().unwrap_or_default());
                metrics.entry(name).or_default().extend(values);
            }
        }
        metrics
    };
    // A process's last lines are read a moment after its answer.
    let found = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            let metrics = metrics().await;
            if metrics.contains_key("websocket_disconnects_total lost") {
                return metrics;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut found = found.await.expect("the last line comes");
    let open = found.get_mut("websocket_connections ").unwrap();
    open.sort_by(f64::total_cmp);
    assert_eq!(open, &[0.0, 1.0, 1.0, 2.0], "two opened and ended");
    assert_eq!(found["websocket_disconnects_total expected"], [1.0]);
    assert_eq!(found["websocket_disconnects_total lost"], [1.0]);
    let delays = &found["timeline_update_delay_seconds "];
    assert!(
        delays.iter().all(|secs| (0.0..60.0).contains(secs)) && delays.len() == 1,
        "{delays:?}"
    );
    assert_eq!(found.len(), 4, "{found:?}");
}

/// The door of the sockets.
#[tokio::test]
async fn the_authorizer_tells_who_may_open_a_socket() {
    let stage = Stage::new().await;
    let reader = Person::register(&stage, "taro").await;
    let authorizer = stage.functions().get("authorizer").await;
    let asked = async |origin| {
        let question = crate::events::may_open(Some(&reader.token), origin);
        authorizer.invoke(&question).await.unwrap()
    };
    for (origin, effect) in [
        (None, "Allow"),
        (Some("https://app.example"), "Allow"),
        (Some("https://evil.example"), "Deny"),
        (Some("null"), "Deny"),
    ] {
        let answer = asked(origin).await;
        let statement = &answer["policyDocument"]["Statement"][0];
        assert_eq!(statement["Effect"], effect, "{origin:?}");
        assert_eq!(
            statement["Resource"],
            "arn:aws:execute-api:us-east-1:000000000000:ws/prod/$connect"
        );
        assert_eq!(answer["context"]["userId"], reader.id);
        assert!(!answer.to_string().contains(&reader.token));
    }
    let mut open = Vec::new();
    for number in 0..20 {
        open.push(reader.open(&format!("socket-{number}=")).await.unwrap());
    }
    assert_eq!(reader.open("one more=").await.err(), Some(429));
    nothing_secret_is_logged(&stage, &[&reader.token]).await;
}

async fn nothing_secret_is_logged(stage: &Stage, tokens: &[&str]) {
    let log = stage.functions().log().await;
    assert!(!log.is_empty());
    for line in log {
        let read: Value = serde_json::from_str(&line).expect("each line is JSON");
        assert!(read["level"].is_string(), "{line}");
        assert!(!line.contains(PASSWORD) && !tokens.iter().any(|it| line.contains(it)), "{line}");
    }
}
