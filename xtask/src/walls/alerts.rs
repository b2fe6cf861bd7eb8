//! Alarms and what is said of them: each has its page in `docs/operate/alerts`, each page its
//! alarm; each rule of Prometheus is tested in both directions; and what alarms watch of our own is
//! what functions publish; no queue's dead letters go unseen; and the limits are the promised ones.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const PAGES: &str = "docs/operate/alerts";
const RULES: &str = "infra/prometheus/rules.yml";
const RULE_TESTS: &str = "infra/prometheus/rules.test.yml";
const ALARMS: &str = "infra/alarms.yaml";
/// Where services name their queues.
const SERVICES: [&str; 4] = ["users", "posts", "social", "timeline"];
const METERING: &str = "apps/lambda/src/metering.rs";

/// R8.3 and R7.3, as the alarm of that name has it.
const PROMISED: [(&str, &[&str]); 4] = [
    (
        "error-rate",
        &["Statistic: Average", "Period: 60", "EvaluationPeriods: 5", "Threshold: 0.01"],
    ),
    (
        "latency",
        &["ExtendedStatistic: p95", "Period: 60", "EvaluationPeriods: 5", "Threshold: 500"],
    ),
    ("dead-letters", &["Stat: Maximum", "EvaluationPeriods: 1", "Threshold: 0\n"]),
    ("disconnects", &["Stat: Sum, Period: 60", "EvaluationPeriods: 1", "Threshold: 0.1"]),
];

/// What every page has, in its order.
const PARTS: [&str; 4] = ["**People see**", "**Look first**", "**Likely**", "**Over**"];

/// A line for each breach below `root`.
pub(super) fn breaches_below(root: &Path) -> Result<Vec<String>> {
    let read =
        |name: &str| fs::read_to_string(root.join(name)).with_context(|| format!("no {name}"));
    let mut pages = Vec::new();
    for entry in fs::read_dir(root.join(PAGES)).with_context(|| format!("no {PAGES}"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        pages.push((name, fs::read_to_string(&path)?));
    }
    pages.sort();
    let (rules, alarms) = (read(RULES)?, read(ALARMS)?);
    let mut found = pages_and_alarms(&pages, &rules, &alarms);
    found.extend(untested(&rules, &read(RULE_TESTS)?));
    found.extend(unpublished(&alarms, &read(METERING)?));
    found.extend(unkept(&alarms));
    for service in SERVICES {
        let file = format!("crates/{service}/src/react.rs");
        found.extend(unseen(&file, &read(&file)?, &alarms));
    }
    Ok(found)
}

/// The parts of `text` that begin with `mark`, each from there to the next.
fn parts<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    text.split(mark).skip(1).collect()
}

/// The name of the page that a rule or an alarm names behind `mark`.
fn page_of<'a>(part: &'a str, mark: &str) -> Option<&'a str> {
    part.split_once(mark)?.1.split_whitespace().next()
}

fn pages_and_alarms(pages: &[(String, String)], rules: &str, alarms: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut named = BTreeSet::new();
    let all = [
        (RULES, parts(rules, "- alert: "), "runbook: docs/operate/alerts/"),
        (ALARMS, parts(alarms, "Type: AWS::CloudWatch::Alarm\n"), "${RunbookUrl}/"),
    ];
    for (file, parts, mark) in all {
        if parts.is_empty() {
            found.push(format!("{file}: no alarm is where it was"));
        }
        for part in parts {
            let Some(page) = page_of(part, mark) else {
                let first = part.lines().find(|line| !line.trim().is_empty());
                found.push(format!("{file}: no page for `{}`", first.unwrap_or_default().trim()));
                continue;
            };
            if !pages.iter().any(|(name, _)| name == page) {
                found.push(format!("{file}: there is no {PAGES}/{page}"));
            }
            named.insert(page);
        }
    }
    for (name, text) in pages {
        if !named.contains(name.as_str()) {
            found.push(format!("{PAGES}/{name}: no alarm leads here"));
        }
        let places = PARTS.map(|part| text.find(part));
        if places.iter().any(Option::is_none) || !places.is_sorted() {
            found.push(format!("{PAGES}/{name}: its parts are {}", PARTS.join(", ")));
        }
    }
    found
}

/// Rules of which no test shows that they fire, or none that they do not.
fn untested(rules: &str, tests: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rule in parts(rules, "- alert: ") {
        let name = rule.lines().next().unwrap_or_default();
        // As the file writes them: a line of its own with what is expected, or braces without.
        for (shape, what) in [
            (format!("alertname: {name}\n        exp_alerts:"), "fires"),
            (format!("alertname: {name}}}"), "does not fire"),
        ] {
            if !tests.contains(&shape) {
                found.push(format!("{RULE_TESTS}: nothing shows when {name} {what}"));
            }
        }
    }
    found
}

/// Metrics with names of ours that the stack watches and functions do not publish.
fn unpublished(alarms: &str, metering: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = alarms.split(|c: char| !(is_name(c) || c.is_ascii_alphanumeric()));
    let ours: BTreeSet<&str> =
        words.filter(|word| word.contains('_') && word.chars().all(is_name)).collect();
    if ours.is_empty() {
        return vec![format!("{ALARMS}: it watches nothing of ours")];
    }
    let missing = ours.into_iter().filter(|name| !metering.contains(&format!("(\"{name}\", ")));
    missing.map(|name| format!("{ALARMS}: {METERING} does not publish {name}")).collect()
}

/// Promised limits that the alarms do not have.
fn unkept(alarms: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, limits) in PROMISED {
        let begin = format!("AlarmName: !Sub mini-sns-${{Env}}-{name}\n");
        let alarm = alarms.split_once(&begin).map_or("", |(_, rest)| rest);
        let alarm = alarm.split("AlarmName:").next().unwrap_or_default();
        let missing = limits.iter().filter(|limit| !alarm.contains(**limit));
        found.extend(missing.map(|it| format!("{ALARMS}: {name} is to have {}", it.trim())));
    }
    found
}

/// Queues of a service whose dead letters no alarm watches.
fn unseen(file: &str, react: &str, alarms: &str) -> Vec<String> {
    let names = react.split("QueueSpec").filter_map(|part| {
        part.trim_start_matches(" = QueueSpec").trim_start().strip_prefix('{')?.split('"').nth(1)
    });
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        return vec![format!("{file}: no queue is where it was")];
    }
    let missing = names.into_iter().filter(|name| !alarms.contains(&format!("}}-{name}-dlq\"")));
    missing.map(|name| format!("{ALARMS}: nobody sees the dead letters of {name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "- alert: Late\n  annotations: {}\n  runbook: docs/operate/alerts/late.md\n";
    const ALARM: &str = "Late:\n  Type: AWS::CloudWatch::Alarm\n  x: ${RunbookUrl}/late.md\n";

    fn page(name: &str) -> (String, String) {
        (name.to_owned(), PARTS.join("\n"))
    }

    #[test]
    fn alarms_without_a_page_and_pages_without_an_alarm_are_found() {
        assert!(pages_and_alarms(&[page("late.md")], RULE, ALARM).is_empty());
        let found = pages_and_alarms(&[page("other.md")], RULE, ALARM);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("there is no docs/operate/alerts/late.md"));
        assert!(found[2].contains("other.md: no alarm leads here"));
        let mute = "- alert: Mute\n  annotations: {}\n";
        let found = pages_and_alarms(&[page("late.md")], mute, ALARM);
        assert_eq!(found, ["infra/prometheus/rules.yml: no page for `Mute`"]);
        assert_eq!(pages_and_alarms(&[page("late.md")], RULE, "").len(), 1);
    }

    #[test]
    fn a_page_has_all_its_parts_in_order() {
        let mut pages = [page("late.md")];
        pages[0].1 = pages[0].1.replace("Over", "Done");
        assert_eq!(pages_and_alarms(&pages, RULE, ALARM).len(), 1);
        pages[0].1 = PARTS.iter().rev().copied().collect();
        assert_eq!(pages_and_alarms(&pages, RULE, ALARM).len(), 1);
    }

    #[test]
    fn rules_that_are_tested_in_one_direction_alone_are_found() {
        let fires = "      - eval_time: 5m\n        alertname: Late\n        exp_alerts:\n";
        let quiet = "      - {eval_time: 5m, alertname: Late}\n";
        assert!(untested(RULE, &format!("{fires}{quiet}")).is_empty());
        assert!(untested(RULE, fires).concat().ends_with("when Late does not fire"));
        assert!(untested(RULE, quiet).concat().ends_with("when Late fires"));
    }

    #[test]
    fn what_nobody_publishes_is_found() {
        let alarms = "MetricName: delay_seconds\n [\".\", \"lost_total\"] AWS/SQS mini-sns";
        let published = "(\"delay_seconds\", None), (\"lost_total\", None)";
        assert!(unpublished(alarms, published).is_empty());
        let found = unpublished(alarms, "(\"delay_seconds\", None)");
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("does not publish lost_total"));
    }

    #[test]
    fn a_limit_that_is_not_the_promised_one_is_found() {
        let alarm = |(name, limits): (&str, &[&str])| {
            format!("AlarmName: !Sub mini-sns-${{Env}}-{name}\n{}\n", limits.join("\n"))
        };
        let kept: String = PROMISED.into_iter().map(alarm).collect();
        assert_eq!(unkept(&kept), Vec::<String>::new());
        let found = unkept(&kept.replace("Threshold: 500", "Threshold: 900"));
        assert_eq!(found, ["infra/alarms.yaml: latency is to have Threshold: 500"]);
        assert_eq!(unkept(&kept.replace("Threshold: 0\n", "Threshold: 9\n")).len(), 1);
    }

    #[test]
    fn a_queue_whose_dead_letters_nobody_sees_is_found() {
        let react = "pub const QUEUES: &[QueueSpec] = &[ONE, TWO];\n\
                     const ONE: QueueSpec = QueueSpec { name: \"one\", kinds: &[] };\n\
                     const TWO: QueueSpec = QueueSpec {\n    name: \"two\",\n    kinds: &[],\n};\n";
        let seen = "\"mini-sns-${Env}-one-dlq\" \"mini-sns-${Env}-two-dlq\"";
        assert_eq!(unseen("x", react, seen), Vec::<String>::new());
        let found = unseen("x", react, &seen.replace("two", "three"));
        assert_eq!(found, ["infra/alarms.yaml: nobody sees the dead letters of two"]);
        assert_eq!(unseen("x", "", seen), ["x: no queue is where it was"]);
    }
}
