//! What Prometheus' rules and Grafana's dashboard ask for is what `/metrics` tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use tokio_tungstenite::connect_async;

use crate::person::Person;
use crate::server::{Server, eventually};

/// Metrics of the program by name, with the labels that each has.
type Told = BTreeMap<String, BTreeSet<String>>;

/// Labels that Prometheus itself puts to what it scrapes, and the metric that it makes up.
const OF_PROMETHEUS: [&str; 2] = ["job", "instance"];
const MADE_UP: &str = "up";

/// Words of the language that are followed by labels, and those that are not metrics either.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

fn told(metrics: &str) -> Told {
    let mut told = Told::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let end = line.find(['{', ' ']).unwrap();
        let labels = told.entry(line[..end].to_owned()).or_default();
        let inside = line[end..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
        for label in inside.map_or("", |(inside, _)| inside).split("\",") {
            labels.extend(label.split_once('=').map(|(name, _)| name.to_owned()));
        }
    }
    told
}

/// Whether the word before this is applied to something.
fn is_function(next: &str) -> bool {
    ["(", "by (", "without ("].iter().any(|start| next.starts_with(start))
}

/// What an expression asks for: each metric with the labels that are asked of it in braces, and the
/// labels by which it groups.
fn asked(expression: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let (mut metrics, mut groups) = (Vec::<(String, Vec<String>)>::new(), Vec::new());
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '"' || c == '[') {
        rest = &rest[start..];
        if let Some(text) = rest.strip_prefix('"') {
            rest = text.split_once('"').unwrap().1;
            continue;
        }
        if rest.starts_with('[') {
            rest = rest.split_once(']').unwrap().1;
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        let next = after.trim_start();
        rest = after;
        if GROUPING.contains(&word) {
            let (labels, after) = next[1..].split_once(')').unwrap();
            groups.extend(labels.split(',').map(|label| label.trim().to_owned()));
            rest = after;
        } else if let Some(inside) = next.strip_prefix('{') {
            let (labels, after) = inside.split_once('}').unwrap();
            let names = labels.split("\",").map(|label| label.split(['=', '!']).next().unwrap());
            metrics.push((word.to_owned(), names.map(|name| name.trim().to_owned()).collect()));
            rest = after;
        } else if !is_function(next) && !OPERATORS.contains(&word) {
            metrics.push((word.to_owned(), Vec::new()));
        }
    }
    (metrics, groups)
}

/// What of an expression the program does not tell.
fn missing(expression: &str, told: &Told) -> Vec<String> {
    let (metrics, groups) = asked(expression);
    let added = |label: &String| OF_PROMETHEUS.contains(&label.as_str());
    let mut missing = Vec::new();
    for (metric, labels) in metrics.iter().filter(|(metric, _)| metric != MADE_UP) {
        match told.get(metric) {
            None => missing.push(metric.clone()),
            Some(has) => missing.extend(
                labels
                    .iter()
                    .filter(|label| !has.contains(*label) && !added(label))
                    .map(|label| format!("{metric}{{{label}}}")),
            ),
        }
    }
    let known = |label: &String| {
        metrics.iter().any(|(metric, _)| told.get(metric).is_some_and(|has| has.contains(label)))
    };
    missing.extend(groups.into_iter().filter(|label| !added(label) && !known(label)));
    missing
}

/// The expressions of the rules: what stands between `expr:` and the next key.
fn of_rules(text: &str) -> Vec<String> {
    let expressions = text.split("expr:").skip(1);
    let end = |text: &str| text.find(" for:").or_else(|| text.find(" labels:")).unwrap();
    expressions.map(|text| text[..end(text)].trim_start_matches([' ', '|']).to_owned()).collect()
}

/// The expressions of the dashboard's panels.
fn of_dashboard(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn rules_and_dashboard_ask_for_what_is_told() {
    let copies = tempfile::tempdir().unwrap();
    let server = Server::start(&["--backup-dir", copies.path().to_str().unwrap()]).await;
    let person = Person::register(&server).await;
    person.post("something to tell").await;
    server.settled().await;
    let url = format!("{}/metrics", server.admin);
    let told = eventually("the frames of the post are told", async || {
        let told = told(&server.http.get(&url).send().await.ok()?.text().await.ok()?);
        told.contains_key("timeline_update_delay_seconds_bucket").then_some(told)
    })
    .await;
    let infra = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra");
    let rules = of_rules(&fs::read_to_string(infra.join("prometheus/rules.yml")).unwrap());
    let dashboard = fs::read_to_string(infra.join("grafana/mini-sns.json")).unwrap();
    let panels = of_dashboard(&serde_json::from_str(&dashboard).unwrap());
    assert!(rules.len() >= 8 && panels.len() >= 20, "{} {}", rules.len(), panels.len());
    for expression in rules.iter().chain(&panels) {
        assert_eq!(missing(expression, &told), Vec::<String>::new(), "{expression}");
    }
    for (wrong, what) in [
        ("sum(rate(http_requests{job=\"x\"}[1m]))", "http_requests"),
        ("http_requests_total{code=\"5xx\"}", "http_requests_total{code}"),
        ("sum by (le, path) (rate(http_request_duration_seconds_bucket[1m]))", "path"),
        ("up == 0 or ready", "ready"),
    ] {
        assert_eq!(missing(wrong, &told), [what], "the test itself sees what is not told");
    }
}

#[tokio::test]
async fn sockets_that_are_lost_are_told_from_those_that_are_closed() {
    let server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    let address = format!("{}/ws?token={}", server.url.replace("http", "ws"), person.token);
    let (mut closed, _) = connect_async(&address).await.unwrap();
    let (lost, _) = connect_async(&address).await.unwrap();
    closed.close(None).await.unwrap();
    drop(lost);
    let url = format!("{}/metrics", server.admin);
    eventually("one of each is told, and none is open", async || {
        let told = server.http.get(&url).send().await.ok()?.text().await.ok()?;
        let has = |line: &str| told.lines().any(|told| told == line);
        let all = has("websocket_disconnects_total{kind=\"expected\"} 1")
            && has("websocket_disconnects_total{kind=\"lost\"} 1")
            && has("websocket_connections 0");
        all.then_some(())
    })
    .await;
    server.verified().await;
}
