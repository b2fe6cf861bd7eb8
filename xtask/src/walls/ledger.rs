//! `docs/requirements.md` against the tree: every requirement has its line, and every file and test
//! that a line names is there.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const LEDGER: &str = "docs/requirements.md";

/// How many requirements each section has, from section 1 on.
const SECTIONS: [usize; 11] = [5, 10, 4, 3, 5, 3, 3, 4, 3, 1, 8];

/// What a name in backticks begins with when it is a path.
const FOLDERS: [&str; 8] =
    ["apps/", "crates/", "docs/", "infra/", "web/", "xtask/", ".ci/", ".github/"];

/// A line for each breach in the ledger below `root`.
pub(super) fn breaches_below(root: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join(LEDGER)).with_context(|| format!("no {LEDGER}"))?;
    Ok(breaches(&text, |path| {
        let path = root.join(path);
        if path.is_dir() { Some(String::new()) } else { fs::read_to_string(path).ok() }
    }))
}

/// `read` gives the text of the file at a path, or nothing where there is none.
fn breaches(ledger: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for (section, count) in (1..).zip(SECTIONS) {
        for number in 1..=count {
            let lines = ledger
                .lines()
                .filter(|line| line.starts_with(&format!("| R{section}.{number} |")))
                .count();
            if lines != 1 {
                found.push(format!("{LEDGER}: R{section}.{number} has {lines} lines, not one"));
            }
        }
    }
    for (index, line) in ledger.lines().enumerate() {
        let names = line.split('`').skip(1).step_by(2);
        for name in names.filter(|name| FOLDERS.iter().any(|folder| name.starts_with(folder))) {
            let (path, test) = name.split_once("::").map_or((name, None), |(p, t)| (p, Some(t)));
            let place = format!("{LEDGER}:{}", index + 1);
            match (read(path), test) {
                (None, _) => found.push(format!("{place}: there is no {path}")),
                (Some(text), Some(test)) if !text.contains(&opening(path, test)) => {
                    found.push(format!("{place}: {path} has no test {test}"));
                }
                (Some(_), _) => {}
            }
        }
    }
    found
}

/// How a test begins in a file of its language.
fn opening(path: &str, test: &str) -> String {
    if path.ends_with(".js") { format!("test(\"{test}\"") } else { format!("fn {test}(") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> String {
        let mut ledger = String::new();
        for (section, count) in (1..).zip(SECTIONS) {
            for number in 1..=count {
                ledger.push_str(&format!("| R{section}.{number} | `GET /posts` | |\n"));
            }
        }
        ledger
    }

    fn read(path: &str) -> Option<String> {
        match path {
            "crates/posts/tests/door.rs" => Some("async fn posts_are_kept() {}".to_owned()),
            "web/test/flow.test.js" => Some("test(\"posts are shown\", () => {".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_whole_ledger_is_left_alone() {
        let known = "`crates/posts/tests/door.rs` `crates/posts/tests/door.rs::posts_are_kept` \
                     `web/test/flow.test.js::posts are shown`";
        assert_eq!(breaches(&format!("{}{known}", whole()), read), Vec::<String>::new());
    }

    #[test]
    fn missing_and_doubled_requirements_are_found() {
        let found = breaches(&whole().replace("| R2.10 |", "| R2.1 |"), read);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("R2.1 has 2 lines"));
        assert!(found[1].contains("R2.10 has 0 lines"));
    }

    #[test]
    fn names_of_what_is_not_there_are_found() {
        for unknown in ["crates/posts/tests/none.rs::posts_are_kept", "crates/posts/none/"] {
            let found = breaches(&format!("{}`{unknown}`", whole()), read);
            assert!(found.concat().contains("there is no crates/posts/"), "{found:?}");
        }
        for unknown in ["crates/posts/tests/door.rs::posts", "web/test/flow.test.js::posts"] {
            let found = breaches(&format!("{}`{unknown}`", whole()), read);
            assert!(found.concat().contains("has no test posts"), "{found:?}");
        }
    }
}
