//! Rules that hold for every Rust source file: sizes, names, unfinished work, and that rules and
//! reactions know nothing of HTTP.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const LINES_MAX: usize = 500;
const LINE_CHARS_MAX: usize = 100;

/// Names that say nothing about what is inside.
const VAGUE_NAMES: [&str; 7] =
    ["common", "helper", "helpers", "manager", "managers", "util", "utils"];

/// Marks of unfinished or silenced work. Written in two pieces, so that this file has none.
const MARKS: [&str; 7] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("#[", "ignore"),
    concat!("#[", "allow("),
    concat!("#![", "allow("),
];

/// Paths of the crates that hold HTTP types.
const HTTP_CRATES: [&str; 8] =
    ["axum", "axum_core", "axum_extra", "edge", "http", "hyper", "tower_http", "utoipa_axum"];

/// A line for each breach in the Rust sources below `root`.
pub(super) fn breaches_below(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["apps", "crates", "xtask"] {
        walk(root, &root.join(folder), &mut found)?;
    }
    Ok(found)
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) -> Result<()> {
    let cannot_read = || format!("cannot read {}", folder.display());
    let mut paths = fs::read_dir(folder)
        .with_context(cannot_read)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()
        .with_context(cannot_read)?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if !path.ends_with("target") {
                walk(root, &path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
            found.extend(breaches(&name, &text));
        }
    }
    Ok(())
}

/// A line for each breach in one file, whose path is given from the workspace's root.
fn breaches(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let vague = path.split(['/', '.']).find(|part| VAGUE_NAMES.contains(part));
    if let Some(name) = vague {
        found.push(format!("{path}: the name `{name}` says nothing; name what is inside"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        found.push(format!("{path}: {lines} lines, more than {LINES_MAX}"));
    }
    for (index, line) in text.lines().enumerate() {
        let place = format!("{path}:{}", index + 1);
        let chars = line.chars().count();
        if chars > LINE_CHARS_MAX {
            found.push(format!("{place}: {chars} characters, more than {LINE_CHARS_MAX}"));
        }
        if let Some(mark) = MARKS.iter().find(|mark| line.contains(**mark)) {
            found.push(format!("{place}: `{mark}` has no place here"));
        }
        let http = HTTP_CRATES.iter().find(|name| names_crate(line, name));
        if let Some(name) = http.filter(|_| is_pure(path)) {
            found.push(format!("{place}: `{name}` in a rule or a reaction; HTTP ends in api.rs"));
        }
    }
    found
}

/// Whether the file holds a slice's rules or reactions.
fn is_pure(path: &str) -> bool {
    path.split(['/', '.']).any(|part| part == "model" || part == "react")
}

/// Whether a line, its comment aside, has a path that begins with the crate.
fn names_crate(line: &str, name: &str) -> bool {
    let code = line.split("//").next().unwrap_or(line);
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let inside = before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        !inside && code[at + name.len()..].starts_with("::")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &str, text: &str) -> String {
        let found = breaches(path, text);
        assert_eq!(found.len(), 1, "{found:?}");
        found.concat()
    }

    #[test]
    fn long_files_and_lines_are_found() {
        let path = "crates/posts/src/api.rs";
        assert!(breaches(path, &"x\n".repeat(LINES_MAX)).is_empty());
        assert!(one(path, &"x\n".repeat(LINES_MAX + 1)).contains("501 lines"));
        assert!(breaches(path, &"あ".repeat(LINE_CHARS_MAX)).is_empty());
        assert!(one(path, &"x".repeat(LINE_CHARS_MAX + 1)).starts_with(&format!("{path}:1: 101")));
    }

    #[test]
    fn vague_names_are_found() {
        assert!(one("crates/posts/src/utils.rs", "").contains("`utils`"));
        assert!(one("crates/posts/tests/common/mod.rs", "").contains("`common`"));
        assert!(breaches("crates/posts/src/commonplace.rs", "").is_empty());
    }

    #[test]
    fn unfinished_work_is_found() {
        for mark in MARKS {
            assert!(one("apps/mini-sns/src/main.rs", &format!("\n    {mark}")).contains(":2: "));
        }
    }

    #[test]
    fn http_in_rules_and_reactions_is_found() {
        for path in ["crates/posts/src/model.rs", "crates/timeline/src/react/follow.rs"] {
            assert!(one(path, "use axum::Json;").contains("`axum`"));
            assert!(one(path, "fn f() -> http::StatusCode {").contains("`http`"));
            assert!(one(path, "use edge::extract::Caller;").contains("`edge`"));
        }
        assert!(breaches("crates/posts/src/api.rs", "use axum::Json;").is_empty());
    }

    #[test]
    fn words_that_only_look_like_http_are_left_alone() {
        for line in [
            "/// Not `http::StatusCode`.",
            "let link = \"https://example.org\";",
            "let knowledge::Edge { edge } = edges;",
            "use crate::http::Draft;",
        ] {
            assert_eq!(breaches("crates/posts/src/model.rs", line), Vec::<String>::new());
        }
    }
}
