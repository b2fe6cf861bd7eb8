//! `docs/configuration.md` against `settings.rs`: every option has its row there, with the default
//! and the words that the code has, and no row tells of an option that is gone.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const DOCUMENT: &str = "docs/configuration.md";
const SETTINGS: &str = "apps/mini-sns/src/settings.rs";

/// Where the table of options begins in the code; it ends with the first brace on the left edge.
const TABLE_START: &str = "\nsettings! {\n";
const TABLE_END: &str = "\n}\n";

/// A line for each breach in the document below `root`.
pub(super) fn breaches_below(root: &Path) -> Result<Vec<String>> {
    let read = |name| fs::read_to_string(root.join(name)).with_context(|| format!("no {name}"));
    Ok(breaches(&read(SETTINGS)?, &read(DOCUMENT)?))
}

fn breaches(settings: &str, document: &str) -> Vec<String> {
    let expected = rows(settings);
    if expected.is_empty() {
        return vec![format!("{SETTINGS}: the table of options is not where it was")];
    }
    let given: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let missing = expected.iter().filter(|row| !given.contains(&row.as_str()));
    let mut found: Vec<String> =
        missing.map(|row| format!("{DOCUMENT}: this row is missing: {row}")).collect();
    for (index, line) in document.lines().enumerate().filter(|(_, line)| line.starts_with("| `")) {
        if !expected.iter().any(|row| row == line) {
            found.push(format!("{DOCUMENT}:{}: {SETTINGS} has no such option: {line}", index + 1));
        }
    }
    found
}

/// The rows that the document should have, from the table in the code.
fn rows(settings: &str) -> Vec<String> {
    let Some((_, table)) = settings.split_once(TABLE_START) else { return Vec::new() };
    let table = table.split(TABLE_END).next().unwrap_or(table);
    let (mut rows, mut meaning) = (Vec::new(), "");
    for line in table.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            meaning = text;
        } else if let Some((name, rest)) = line.split_once(": ") {
            let default = match rest.split_once(" = ") {
                None => "none".to_owned(),
                Some((_, text)) => match text.trim_end_matches(',').trim_matches('"') {
                    "" => "empty".to_owned(),
                    text => format!("`{text}`"),
                },
            };
            rows.push(format!("| `{name}` | {default} | {meaning} |"));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "
settings! {
    optional {
        /// Fill an example world
        demo: bool,
    }
    defaulted {
        /// Address to serve on
        listen: SocketAddr = \"127.0.0.1:8080\",

        /// Web origins that may call
        cors_origins: List<Origin> = \"\",
    }
}

impl Settings { /* name: of = \"nothing\", */ }
";

    const TEXT: &str = "# Configuration

| key | default | meaning |
|---|---|---|
| `listen` | `127.0.0.1:8080` | Address to serve on |
| `cors_origins` | empty | Web origins that may call |
| `demo` | none | Fill an example world |
";

    #[test]
    fn a_document_that_says_what_the_code_says_is_left_alone() {
        assert_eq!(breaches(CODE, TEXT), Vec::<String>::new());
    }

    #[test]
    fn changed_defaults_and_words_are_found() {
        for (now, before) in [("8080\",", "80\","), ("Web origins", "Origins"), ("demo:", "show:")]
        {
            let found = breaches(&CODE.replace(now, before), TEXT);
            assert_eq!(found.len(), 2, "one row is missing, one is too many: {found:?}");
        }
    }

    #[test]
    fn a_row_that_is_left_out_is_shown_as_it_should_be() {
        let found = breaches(CODE, &TEXT.replace("| `demo` | none | Fill an example world |", ""));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with("| `demo` | none | Fill an example world |"));
    }

    #[test]
    fn a_table_that_has_moved_is_told() {
        assert_eq!(breaches("fn main() {}", TEXT).len(), 1);
    }
}
