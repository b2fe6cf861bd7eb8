//! Three times as much as the server can do.

use std::process::Stdio;

use serde_json::Value;

use crate::person::{Answer, PASSWORD, Person};
use crate::server::{Server, program};

/// Requests at work at once, at most.
const PLACES: u32 = 8;
/// A shared machine may have a slow moment.
const ATTEMPTS: usize = 4;

/// What the generator measured of posts: how many a second succeeded, their 99th percentile in
/// milliseconds, and its report.
async fn load(server: &Server, options: &[&str]) -> (f64, f64, Value) {
    let mut command = program();
    command.args(["load", &server.url, "--json", "--scenario", "posts", "--users", "24"]);
    command.args(["--duration-secs", "2", "--tokens"]).arg(server.data.join("tokens.json"));
    command.args(options).stderr(Stdio::inherit());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "only refusals are no failures: {output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let posts = &report["operations"][0];
    assert_eq!(posts["operation"], "post");
    (posts["perSecond"].as_f64().unwrap(), posts["p99Ms"].as_f64().unwrap(), report)
}

#[tokio::test(flavor = "multi_thread")]
async fn at_three_times_its_capacity_it_does_what_it_can() {
    let places = PLACES.to_string();
    let plenty = "1000000";
    let server = Server::start(&[
        "--requests-in-flight-max",
        &places,
        "--posts-per-minute",
        plenty,
        "--address-rate-per-sec",
        plenty,
        "--address-rate-burst",
        plenty,
        "--auth-rate-per-sec",
        plenty,
        "--auth-rate-burst",
        plenty,
    ])
    .await;
    let person = Person::register(&server).await;
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let (peak, _, _) = load(&server, &["--connections", &places]).await;
        let (rate, many) = (format!("{:.0}", peak * 3.0), (PLACES * 3).to_string());
        let flood = ["--rate", &rate, "--connections", &many];
        let (goodput, meanwhile) = tokio::join!(load(&server, &flood), async {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            let health = server.http.get(format!("{}/health", server.url)).send().await.unwrap();
            let login = serde_json::json!({"email": person.email, "password": PASSWORD});
            let login = server.http.post(format!("{}/auth/login", server.url)).json(&login);
            (health.status().as_u16(), Answer::of(login.send().await.unwrap()).await)
        });
        let (health, login) = meanwhile;
        assert_eq!(health, 200, "health is told last of all");
        login.expect(200);
        let (per_second, p99_ms, report) = goodput;
        let shed = report["operations"][0]["errors"]["503 overloaded"].as_u64();
        assert!(shed.is_some_and(|shed| shed > 0), "something is refused: {report}");
        if per_second >= 0.8 * peak && p99_ms < 1000.0 {
            return server.verified().await;
        }
        seen.push((peak, per_second, p99_ms));
    }
    panic!("peak, goodput and p99 of each attempt: {seen:?}");
}
