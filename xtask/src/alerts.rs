//! `cargo xtask alerts`: Prometheus' rules and Grafana's dashboard, judged by Prometheus' own
//! `promtool`: whether they parse, and whether each rule fires when it should and not otherwise.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::shell::{files, root};
use crate::signals::Signals;
use crate::tools::{self, cache, find};

const RULES: &str = "infra/prometheus";
const DASHBOARD: &str = "infra/grafana/mini-sns.json";
/// Debian's package with `promtool`. It is unpacked and not installed, for it would start a server.
const PACKAGE: &str = "prometheus";

/// Checks them by themselves.
pub(crate) fn run() -> Result<()> {
    check(&Signals::listen()?)
}

/// Checks the rules and the dashboard, with `promtool` installed where it is missing.
pub(crate) fn check(signals: &Signals) -> Result<()> {
    let promtool = promtool(signals)?;
    let run = |arguments: [&str; 3]| {
        let folder = root()?.join(RULES);
        signals.run(Command::new(&promtool).args(arguments).current_dir(folder))
    };
    run(["check", "config", "prometheus.yml"])?;
    run(["test", "rules", "rules.test.yml"])?;
    let dashboard = fs::read_to_string(root()?.join(DASHBOARD)).context("no dashboard")?;
    let dashboard = serde_json::from_str(&dashboard).context("the dashboard is no JSON")?;
    let folder = tempfile::tempdir().context("no place for the dashboard's expressions")?;
    let rules = folder.path().join("dashboard.json");
    fs::write(&rules, as_rules(&dashboard)?.to_string()).context("cannot write them")?;
    run(["check", "rules", &rules.to_string_lossy()])
}

/// The dashboard's expressions as rules, which is what `promtool` reads. Grafana puts in the range.
fn as_rules(dashboard: &Value) -> Result<Value> {
    let mut rules = Vec::new();
    for expression in expressions(dashboard) {
        let name = format!("panel_{}", rules.len());
        rules.push(json!({"record": name, "expr": expression.replace("$__rate_interval", "1m")}));
    }
    if rules.is_empty() {
        bail!("{DASHBOARD} asks for nothing");
    }
    Ok(json!({"groups": [{"name": "dashboard", "rules": rules}]}))
}

fn expressions(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().flat_map(expressions).collect(),
        Value::Object(members) => {
            let own = members.get("expr").and_then(Value::as_str);
            own.into_iter().chain(members.values().flat_map(expressions)).collect()
        }
        _ => Vec::new(),
    }
}

/// `promtool`: the machine's, or one of our own in the user's cache.
fn promtool(signals: &Signals) -> Result<PathBuf> {
    if let Some(found) = find("promtool") {
        return Ok(found);
    }
    let place = cache("promtool")?;
    let promtool = place.join("bin/promtool");
    if promtool.is_file() {
        return Ok(promtool);
    }
    if find("apt-get").is_none() {
        bail!("the rules of {RULES} are checked with Prometheus' promtool; install it");
    }
    println!("the checks need promtool; fetching Debian's {PACKAGE}");
    fs::create_dir_all(place.join("bin")).context("no place for promtool in the cache")?;
    let work = tempfile::tempdir_in(&place).context("no place to unpack it")?;
    let fetch = || {
        let mut command = Command::new("apt-get");
        command.args(["download", PACKAGE]).current_dir(&work);
        command
    };
    if signals.run(&mut fetch()).is_err() {
        tools::update(signals)?;
        signals.run(&mut fetch())?;
    }
    let package = files(work.path(), ".deb")?.swap_remove(0);
    signals.run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(work.path()))?;
    // At once whole, or not there.
    fs::rename(work.path().join("usr/bin/promtool"), &promtool).context("the package has none")?;
    Ok(promtool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expression_of_a_dashboard_is_checked() {
        let dashboard = json!({"panels": [
            {"targets": [{"expr": "rate(a[$__rate_interval])"}, {"expr": "b"}]},
            {"panels": [{"targets": [{"expr": "c"}]}]},
        ]});
        let rules = as_rules(&dashboard).unwrap();
        let rules = rules["groups"][0]["rules"].as_array().unwrap();
        let asked: Vec<_> = rules.iter().map(|rule| rule["expr"].as_str().unwrap()).collect();
        assert_eq!(asked, ["rate(a[1m])", "b", "c"]);
        assert!(as_rules(&json!({"panels": []})).is_err());
    }
}
