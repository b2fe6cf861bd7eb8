//! `docs/operate/metrics.md` against the code: every metric that is recorded has its row there, of
//! its kind, unit and labels, and none is told of that is gone; the rows that CloudWatch is told of
//! are those that functions publish.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const DOCUMENT: &str = "docs/operate/metrics.md";
const METERING: &str = "apps/lambda/src/metering.rs";
const KINDS: [&str; 3] = ["counter", "gauge", "histogram"];

/// A metric's kind and labels.
type Recorded = BTreeMap<String, (&'static str, Vec<String>)>;

/// A line for each breach below `root`.
pub(super) fn breaches_below(root: &Path) -> Result<Vec<String>> {
    let mut recorded = Recorded::new();
    for folder in ["crates", "apps"] {
        walk(&root.join(folder), &mut recorded)?;
    }
    let read =
        |name: &str| fs::read_to_string(root.join(name)).with_context(|| format!("no {name}"));
    Ok(breaches(&recorded, &published(&read(METERING)?), &read(DOCUMENT)?))
}

/// Reads what the sources in the `src` folders record.
fn walk(folder: &Path, recorded: &mut Recorded) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        let path = entry?.path();
        let is_source = path.components().any(|part| part.as_os_str() == "src");
        if path.is_dir() {
            walk(&path, recorded)?;
        } else if is_source && path.extension().is_some_and(|extension| extension == "rs") {
            read_source(&fs::read_to_string(&path)?, recorded);
        }
    }
    Ok(())
}

fn read_source(text: &str, recorded: &mut Recorded) {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    for kind in KINDS {
        let mark = format!("{kind}!(");
        for (at, _) in code.match_indices(&mark) {
            // Not those that only describe one.
            if code[..at].ends_with('_') {
                continue;
            }
            let call = call(&code[at..]);
            let Some(name) = quoted(call).next() else { continue };
            // Labels stand in the call, or in the array before it that it names.
            let labels: Vec<String> = if call.contains("&labels") {
                let array = code[..at].rsplit("let labels = [").next().unwrap_or_default();
                let array = array.split("];").next().unwrap_or_default();
                let rows = array.lines().filter_map(|line| line.trim().strip_prefix("(\""));
                rows.filter_map(|row| row.split('"').next()).map(str::to_owned).collect()
            } else {
                let before: Vec<_> = call.split("\" =>").collect();
                let last = |text: &&str| text.rsplit('"').next().unwrap_or_default().to_owned();
                before[..before.len() - 1].iter().map(last).collect()
            };
            recorded.insert(name.to_owned(), (kind, labels));
        }
    }
}

/// A call with what stands between its brackets.
fn call(text: &str) -> &str {
    let mut open = 0_usize;
    let end = text.find(|letter| {
        open += usize::from(letter == '(');
        let is_closing = letter == ')';
        open -= usize::from(is_closing);
        is_closing && open == 0
    });
    end.map_or(text, |end| &text[..end])
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// Names that functions publish, each with its label.
fn published(metering: &str) -> BTreeMap<String, Option<String>> {
    let list = metering.split("const PUBLISHED").nth(1).unwrap_or_default();
    let list = list.split("];\n").next().unwrap_or_default();
    let rows = list.lines().filter(|line| line.trim().starts_with("(\""));
    let row = |line: &str| {
        let mut words = quoted(line).map(str::to_owned);
        Some((words.next()?, words.next()))
    };
    rows.filter_map(row).collect()
}

/// `seconds`, `bytes` or `count`, as the name says.
fn unit(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        Some("seconds") => "seconds",
        Some("bytes") => "bytes",
        _ => "count",
    }
}

/// What stands before the words of a metric's row.
fn row(
    name: &str,
    (kind, labels): &(&'static str, Vec<String>),
    published: &BTreeMap<String, Option<String>>,
) -> String {
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    let told = match published.get(name) {
        None => "no".to_owned(),
        Some(None) => "yes".to_owned(),
        Some(Some(label)) => format!("by `{label}`"),
    };
    let row = format!("| `{name}` | {kind} | {} | {} | {told} | ", unit(name), labels.join(", "));
    row.replace("  ", " ")
}

fn breaches(
    recorded: &Recorded,
    published: &BTreeMap<String, Option<String>>,
    document: &str,
) -> Vec<String> {
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> =
        recorded.iter().map(|(name, metric)| row(name, metric, published)).collect();
    let mut found = Vec::new();
    for row in &expected {
        if !rows.iter().any(|line| line.starts_with(row)) {
            found.push(format!("{DOCUMENT}: this row is missing: {row}"));
        }
    }
    for line in rows {
        if !expected.iter().any(|row| line.starts_with(row)) {
            found.push(format!("{DOCUMENT}: nothing records this: {line}"));
        }
    }
    for (name, (kind, _)) in recorded {
        if (*kind == "counter") != name.ends_with("_total") {
            found.push(format!("{name}: counters, and they alone, end in `_total`"));
        }
    }
    for name in published.keys().filter(|name| !recorded.contains_key(*name)) {
        found.push(format!("{METERING}: nothing records {name}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "
        metrics::describe_histogram!(\"delay_seconds\", Unit::Seconds, \"...\");
        let labels = [
            (\"method\", row.map_or(\"other\", |row| METHODS[row].as_str()).to_owned()),
            (\"route\", route.to_owned()),
        ];
        let requests = counter!(\"requests_total\", &labels);
        metrics::histogram!(\"delay_seconds\").record(1.0);
        metrics::gauge!(\"depth\", \"queue\" => name(), \"state\" => state).set(2.0);
        #[cfg(test)]
mod tests { counter!(\"of_a_test\"); }
";
    const METERS: &str = "const PUBLISHED: [X; 2] = [
    (\"delay_seconds\", None),
    (\"requests_total\", Some(\"route\")),
];
";
    const TEXT: &str = "
| metric | kind | unit | labels | CloudWatch | says |
|---|---|---|---|---|---|
| `delay_seconds` | histogram | seconds | | yes | how late |
| `depth` | gauge | count | `queue`, `state` | no | how many |
| `requests_total` | counter | count | `method`, `route` | by `route` | requests |
";

    fn found(code: &str, meters: &str, text: &str) -> Vec<String> {
        let mut recorded = Recorded::new();
        read_source(code, &mut recorded);
        breaches(&recorded, &published(meters), text)
    }

    #[test]
    fn a_document_that_says_what_is_recorded_is_left_alone() {
        assert_eq!(found(CODE, METERS, TEXT), Vec::<String>::new());
    }

    #[test]
    fn changed_names_kinds_labels_and_lists_are_found() {
        for (now, before, breaches) in [
            ("\"depth\"", "\"deep\"", 2),
            ("metrics::gauge!(\"depth\"", "metrics::counter!(\"depth\"", 3),
            ("\"state\" =>", "\"status\" =>", 2),
            ("(\"route\", route", "(\"path\", route", 2),
        ] {
            let found = found(&CODE.replace(now, before), METERS, TEXT);
            assert_eq!(found.len(), breaches, "{before}: {found:?}");
        }
        assert_eq!(found(CODE, &METERS.replace("Some(\"route\")", "None"), TEXT).len(), 2);
        assert_eq!(found(CODE, &METERS.replace("(\"delay", "(\"gone"), TEXT).len(), 3);
    }
}
