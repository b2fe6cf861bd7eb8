//! `cargo xtask lambda`: builds each function of Lambda small and with its own service alone, and
//! measures size, cold start and memory against the goals.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::record;
use crate::shell::{cargo, metadata, output, root, run as run_command, target};

/// Megabytes of a function, at most.
const SIZE_GOAL: f64 = 6.0;
/// Megabytes of those that link Cognito's SDK.
const COGNITO_SIZE_GOAL: f64 = 8.0;
const COGNITO: [&str; 2] = ["users", "react-users"];
/// Milliseconds from the start of the process to its first answer, at most.
const START_GOAL: f64 = 15.0;
/// Megabytes of memory then, at most.
const MEMORY_GOAL: f64 = 30.0;

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write the table into docs/performance.md
    #[arg(long)]
    write: bool,
    /// Build only, without measuring
    #[arg(long)]
    build: bool,
    /// Starts of each function
    #[arg(long, default_value_t = 20)]
    starts: usize,
}

/// A bootstrap and the features that it needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bootstrap {
    pub(crate) name: String,
    pub(crate) features: Vec<String>,
}

/// The bootstraps in what `cargo metadata --no-deps` prints.
pub(crate) fn bootstraps(package: &Value) -> Vec<Bootstrap> {
    let targets = package["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let bins = targets.iter().filter(|target| target["kind"][0] == "bin");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let features = |target: &Value| {
        let features = target["required-features"].as_array().map(Vec::as_slice);
        features.unwrap_or_default().iter().map(text).collect()
    };
    bins.map(|bin| Bootstrap { name: text(&bin["name"]), features: features(bin) }).collect()
}

/// The names of those that need the same features, and so are built together.
fn grouped(all: Vec<Bootstrap>) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Bootstrap { name, features } in all {
        groups.entry(features).or_default().push(name);
    }
    groups
}

/// Builds, measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let package = packages.iter().find(|package| package["name"] == "lambda");
    for (features, names) in grouped(bootstraps(package.context("no package lambda")?)) {
        let features = [features, vec!["small".to_owned()]].concat().join(",");
        let mut build = vec!["build", "--profile", "lambda", "-p", "lambda"];
        build.extend(["--no-default-features", "--features", &features]);
        build.extend(names.iter().flat_map(|name| ["--bin", name]));
        run_command(&mut cargo(&build)?)?;
    }
    if arguments.build {
        return Ok(());
    }
    let built = target()?.join("lambda");
    let built = built.to_str().context("the target directory is no text")?;
    let starts = arguments.starts.to_string();
    let example = ["run", "--quiet", "-p", "lambda", "--example", "cold_start", "--"];
    let measured = output(&mut cargo(&[&example[..], &[built, &starts]].concat())?)?;
    let measured = String::from_utf8(measured).context("what was measured")?;
    let command = "cargo xtask lambda";
    let how = format!(
        "bootstraps of the profile `lambda`, each started {starts} times under the Runtime API of \
         the tests, on the same cores."
    );
    let record = format!("{}\n{}", record::describe(command, &how)?, table(&measured)?);
    println!("{record}");
    if arguments.write {
        let path = root()?.join("docs/performance.md");
        record::write(&path, "lambda", "cargo xtask lambda --write", &record)?;
    }
    Ok(())
}

/// The measured lines as a table with the goals.
fn table(measured: &str) -> Result<String> {
    let columns = [
        "function",
        "size, MB",
        "goal",
        "first answer, ms: median",
        "slowest",
        "on a processor",
        "goal",
        "memory, MB",
        "goal",
        "",
    ];
    let mut table = format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for line in measured.lines() {
        let line: Value = serde_json::from_str(line).context("what was measured is no JSON")?;
        let number = |name: &str| line[name].as_f64().with_context(|| format!("no {name}"));
        let name = line["function"].as_str().context("no function")?;
        let (size, memory) = (number("bytes")? / 1e6, number("memoryBytes")? / 1e6);
        let (median, slowest) = (number("medianMillis")?, number("maxMillis")?);
        let on_processor = number("processorMillis")?;
        let goal = if COGNITO.contains(&name) { COGNITO_SIZE_GOAL } else { SIZE_GOAL };
        let met = size <= goal && median <= START_GOAL && memory <= MEMORY_GOAL;
        let met = if met { "pass" } else { "**miss**" };
        writeln!(
            table,
            "| `{name}` | {size:.2} | {goal} | {median:.1} | {slowest:.1} | \
             {on_processor:.1} | {START_GOAL} | {memory:.1} | {MEMORY_GOAL} | {met} |"
        )?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, bytes: f64, millis: f64, memory: f64) -> String {
        serde_json::json!({
            "function": name, "bytes": bytes, "medianMillis": millis, "maxMillis": millis,
            "processorMillis": millis,
            "memoryBytes": memory,
        })
        .to_string()
    }

    #[test]
    fn a_function_that_misses_one_goal_misses() {
        let met = |line: String| table(&line).unwrap().contains("| pass |");
        assert!(met(line("posts", 6e6, 15.0, 30e6)));
        assert!(!met(line("posts", 6.1e6, 5.0, 10e6)));
        assert!(met(line("users", 7.9e6, 5.0, 10e6)));
        assert!(!met(line("posts", 5e6, 15.1, 10e6)));
        assert!(!met(line("posts", 5e6, 5.0, 31e6)));
        assert!(table("{}").is_err());
    }
}
