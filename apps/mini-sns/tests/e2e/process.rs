//! The program as an operator meets it: options, exit codes, signals.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use reqwest::Method;
use serde_json::Value;

use crate::person::Person;
use crate::server::{Server, eventually, program, verify};

fn run(args: &[&str]) -> Output {
    program().args(args).output().unwrap()
}

/// Demands exit code 2 and one line on standard error, and gives the line.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let output = run(args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{args:?}: {text}");
    text
}

#[test]
fn bad_usage_is_one_line_and_exit_code_2() {
    assert!(refused(&["serve", "--listen", "nowhere"]).contains("--listen"));
    assert!(refused(&["serve", "--tls-cert", "x.pem"]).contains("tls_key"));
    assert!(refused(&["serve", "--config", "/no/such/file"]).contains("/no/such/file"));
    assert!(refused(&["serve", "--services", "user"]).contains("services"));
    assert!(refused(&["serve", "--backend", "cloud"]).contains("backend"));
    assert!(refused(&["serve", "--log-filter", "a=b=c"]).contains("log_filter"));
    assert!(refused(&["serve", "--admin-listen", "0.0.0.0:0"]).contains("admin_token"));
    assert!(refused(&["serve", "--cors-origins", "not an origin"]).contains("--cors-origins"));
    assert!(refused(&["serve", "--cors-origins", "*"]).contains("--cors-origins"));
    assert!(refused(&["serve", "--issuer", ""]).contains("issuer"));
    assert!(refused(&["frobnicate"]).contains("frobnicate"));
    assert!(refused(&["verify", "--data", "/no/such/dir"]).contains("/no/such/dir"));
}

#[tokio::test]
async fn the_admin_token_is_read_from_a_file_of_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "hush-hush\n").unwrap();
    let mode = |mode| std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    mode(0o600);
    let options = ["--admin-token-file", file.to_str().unwrap()];
    let server = Server::start(&options).await;
    let list = ["users", "find", "nobody", "--admin", &server.admin];
    let with_file = [&list[..], &options].concat();
    assert_eq!(run(&with_file).status.code(), Some(0));
    assert_eq!(run(&[&list[..], &["--admin-token", "hush-hush"]].concat()).status.code(), Some(0));
    assert_eq!(run(&list).status.code(), Some(1), "without one it is refused");
    mode(0o644);
    for args in [with_file, [&["serve"][..], &options].concat()] {
        let line = refused(&args);
        assert!(line.contains("chmod 600") && !line.contains("hush"), "{line}");
    }
}

#[test]
fn a_bad_environment_variable_is_named() {
    let mut serve = program();
    let output = serve.arg("serve").env("MINI_SNS_LISTEN", "nowhere").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("MINI_SNS_LISTEN"), "{text}");
}

#[test]
fn a_full_output_is_a_failure_and_a_closed_one_is_not() {
    let full = std::fs::File::create("/dev/full").unwrap();
    let status = program().arg("openapi").stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    let mut printing = program().arg("openapi").stdout(Stdio::piped()).spawn().unwrap();
    drop(printing.stdout.take());
    assert_eq!(printing.wait().unwrap().code(), Some(0));
}

#[test]
fn help_and_openapi_are_printed() {
    let help = run(&["serve", "--help"]);
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    for key in ["--posts-per-minute", "[default: 10]", "MINI_SNS_LISTEN", "--refresh-token-ttl"] {
        assert!(text.contains(key), "{key}");
    }
    let document: Value = serde_json::from_slice(&run(&["openapi"]).stdout).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[tokio::test]
async fn a_data_directory_in_use_is_refused_and_left_alone() {
    let server = Server::start(&[]).await;
    let data = server.data.to_str().unwrap();
    let line = refused(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--data",
        data,
    ]);
    assert!(line.contains(data), "{line}");
    let line = refused(&["verify", "--data", data]);
    assert!(line.contains(data), "{line}");
    Person::register(&server).await;
    server.verified().await;
}

#[tokio::test]
async fn the_configuration_of_the_unit_serves() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/systemd/mini-sns.toml");
    let server = Server::start(&["--config", file]).await;
    let health = server.http.get(format!("{}/health", server.url)).send().await.unwrap();
    assert_eq!(health.status(), 200);
}

#[tokio::test]
async fn an_address_in_use_is_one_line() {
    let server = Server::start(&[]).await;
    let address = server.url.trim_start_matches("http://");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let line = refused(&["serve", "--listen", address, "--data", data.to_str().unwrap()]);
    assert!(line.contains(address), "{line}");
}

#[tokio::test]
async fn health_readiness_metrics_and_documents_are_served() {
    let server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    person.post("something to count").await;
    server.settled().await;
    let text = async |url: String| {
        let answer = server.http.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
        answer.text().await.unwrap()
    };
    let health: Value =
        serde_json::from_str(&text(format!("{}/health", server.url)).await).unwrap();
    assert_eq!(health["status"], "ok");
    for part in ["store", "bus", "cache"] {
        assert!(health["checks"][part].is_string(), "{health}");
    }
    text(format!("{}/ready", server.admin)).await;
    let metrics = text(format!("{}/metrics", server.admin)).await;
    for name in [
        "http_request_duration_seconds",
        "timeline_update_delay_seconds",
        "websocket_connections",
        "queue_depth",
        "queue_oldest_age_seconds",
        "queue_dead_letters",
    ] {
        assert!(metrics.contains(name), "{name}");
    }
    assert!(text(format!("{}/docs", server.url)).await.contains("<html"));
    assert!(
        text(server.url.clone()).await.contains("<html"),
        "the printed address shows something"
    );
    let document = text(format!("{}/openapi.json", server.url)).await;
    let printed = run(&["openapi"]).stdout;
    assert_eq!(
        serde_json::from_str::<Value>(&document).unwrap(),
        serde_json::from_slice::<Value>(&printed).unwrap()
    );
    let internal = person.get("/internal/posts").await;
    internal.problem(404, "not_found");
    assert_eq!(
        server.http.get(format!("{}/metrics", server.url)).send().await.unwrap().status(),
        404
    );
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight() {
    let mut server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    let mut posts = tokio::task::JoinSet::new();
    for number in 0..8 {
        let person = person.clone();
        posts.spawn(async move {
            let text = serde_json::json!({"text": format!("in flight {number}")});
            let answer = person.request(Method::POST, "/posts").json(&text).send().await.ok()?;
            let post: Value = answer.json().await.ok()?;
            post["postId"].as_str().map(str::to_owned)
        });
    }
    let first = posts.join_next().await.unwrap().unwrap().expect("the first is answered");
    server.terminate();
    let mut answered = vec![first];
    answered.extend(posts.join_all().await.into_iter().flatten());
    assert_eq!(server.exited().await.code(), Some(0));
    verify(&server.data);
    server.restart().await;
    person.at(&server).sees(&answered).await;
}

#[tokio::test]
async fn a_demo_world_lives() {
    let server = Server::start(&["--demo"]).await;
    let visitor = Person::register(&server).await;
    let found = eventually("people have posted", async || {
        let page = visitor.get("/posts?limit=50").await.expect(200);
        (page["items"].as_array().unwrap().len() == 50).then_some(page)
    })
    .await;
    let first = found["items"][0]["postId"].as_str().unwrap();
    assert_eq!(first.len(), 26);
}
