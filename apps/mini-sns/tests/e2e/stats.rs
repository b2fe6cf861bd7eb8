//! An operator looks how the server is: `mini-sns stats`.

use std::process::Output;

use reqwest::Method;
use serde_json::Value;

use crate::backup::{done, refused};
use crate::live::Socket;
use crate::person::Person;
use crate::server::{Server, eventually, program};

fn stats(args: &[&str]) -> Output {
    program().arg("stats").args(args).output().unwrap()
}

fn told(args: &[&str]) -> Value {
    let output = stats(&[args, &["--json"]].concat());
    let told = serde_json::from_str(&done(&output)).unwrap();
    assert!(output.stderr.is_empty(), "what is no terminal is told of no progress");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_is_told_of_and_a_stopped_ones_data_is_counted() {
    let copies = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let data = data.path().join("data");
    let options = ["--backup-dir", copies.path().to_str().unwrap(), "--backup-interval", "100ms"];
    let mut server = Server::start_in(&data, &options).await;
    let (ann, bob) = (Person::register(&server).await, Person::register(&server).await);
    let eve = Person::register(&server).await;
    ann.follow(&bob).await;
    eve.follow(&bob).await;
    eve.send(Method::DELETE, &format!("/users/{}/follow", bob.id)).await.expect(200);
    let (first, second) = (bob.post("first").await, bob.post("second").await);
    ann.send(Method::POST, &format!("/posts/{first}/likes")).await.expect(200);
    ann.send(Method::POST, &format!("/posts/{second}/likes")).await.expect(200);
    ann.send(Method::DELETE, &format!("/posts/{second}/likes")).await.expect(200);
    server.settled().await;
    let address = server.admin.clone();
    let admin = ["--admin", address.as_str()];
    let socket = Socket::open(&server, &ann).await;
    let of_server = eventually("a base is copied", async || {
        let told = told(&admin);
        told["lastBackup"].is_string().then_some(told)
    })
    .await;
    for (name, wanted) in [
        ("openSockets", 1.0),
        ("eventsToPublish", 0.0),
        ("eventsWaiting", 0.0),
        ("eventsInHand", 0.0),
        ("deadLetters", 0.0),
        ("openReports", 0.0),
        ("failedRequests", 0.0),
    ] {
        assert_eq!(of_server[name].as_f64(), Some(wanted), "{name} of {of_server}");
    }
    assert_eq!(of_server["takesWrites"], true);
    for name in ["memoryBytes", "spareDiskBytes"] {
        assert!(of_server[name].as_f64().unwrap() > 0.0, "{name} of {of_server}");
    }
    let table = done(&stats(&admin));
    assert!(table.contains("open sockets") && table.contains("last backup"), "{table}");
    drop(socket);

    let of_data = ["--data", data.to_str().unwrap()];
    assert!(refused(&stats(&of_data), 2).contains("in use"), "it serves");
    let suspended = program()
        .args(["users", "suspend", &eve.id, "--reason", "spam", "--admin", &server.admin])
        .output();
    done(&suspended.unwrap());
    server.settled().await;
    server.terminate();
    assert_eq!(server.exited().await.code(), Some(0));
    let counted = told(&of_data);
    for (name, wanted) in
        [("accounts", 3), ("suspended", 1), ("posts", 2), ("follows", 1), ("likes", 1)]
    {
        assert_eq!(counted[name], wanted, "{name} of {counted}");
    }
    assert!(counted["diskBytes"].as_u64().unwrap() > 0);
    assert!(refused(&stats(&admin), 1).contains("no server answers there"));
    let nowhere = copies.path().join("nowhere");
    let line = refused(&stats(&["--data", nowhere.to_str().unwrap()]), 2);
    assert!(line.contains("there is no Mini-SNS data"), "{line}");
    assert!(!nowhere.exists(), "a look makes nothing");
}
