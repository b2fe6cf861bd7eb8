//! `cargo xtask openapi`: the OpenAPI document in the repository, which is the one that the code
//! makes. A change of the interface shows in review as a change of that file.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell::{cargo, output, root};
use crate::test::TEST;

const SNAPSHOT: &str = "docs/openapi.json";

/// Writes the snapshot.
pub(crate) fn write() -> Result<()> {
    let snapshot = root()?.join(SNAPSHOT);
    fs::write(&snapshot, document()?).with_context(|| format!("cannot write {SNAPSHOT}"))?;
    println!("wrote {SNAPSHOT}");
    Ok(())
}

/// Compares the snapshot with the code; the error names the first line that differs.
pub(crate) fn compare() -> Result<()> {
    let made = document()?;
    let kept = fs::read_to_string(root()?.join(SNAPSHOT))
        .with_context(|| format!("cannot read {SNAPSHOT}; run `cargo xtask openapi`"))?;
    match first_difference(&kept, &made) {
        None => Ok(()),
        Some((number, line)) => bail!(
            "{SNAPSHOT}:{number} is not what the code makes ({line:?}); run `cargo xtask openapi` \
             and look at the change"
        ),
    }
}

/// The first line, counted from one, in which `made` differs from `kept`, as `made` has it.
fn first_difference<'a>(kept: &str, made: &'a str) -> Option<(usize, &'a str)> {
    if kept == made {
        return None;
    }
    let same = kept.lines().zip(made.lines()).take_while(|(kept, made)| kept == made).count();
    Some((same + 1, made.lines().nth(same).unwrap_or("")))
}

/// What `mini-sns openapi` prints.
fn document() -> Result<String> {
    let printed = output(Command::new(binary()?).arg("openapi").current_dir(root()?))?;
    let text = String::from_utf8(printed).context("the OpenAPI document is not UTF-8")?;
    serde_json::from_str::<Value>(&text).context("the OpenAPI document is not JSON")?;
    Ok(text)
}

/// Builds the tests, and with them the binary that the end-to-end tests start. Building the binary
/// alone would choose other features for shared dependencies and compile them a second time.
fn binary() -> Result<PathBuf> {
    let format = "--message-format=json-render-diagnostics";
    let messages = output(cargo(&TEST)?.args(["--no-run", format]))?;
    let messages = String::from_utf8(messages).context("cargo's messages are not UTF-8")?;
    let found = messages.lines().filter_map(|line| executable(line, "mini-sns")).next_back();
    found.context("cargo built no binary named mini-sns")
}

/// The path of the program `name`, where cargo's message tells of it (and not of its tests).
fn executable(message: &str, name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_program = message["target"]["name"] == name
        && message["target"]["kind"] == serde_json::json!(["bin"])
        && message["profile"]["test"] == false;
    is_program.then(|| message["executable"].as_str().map(PathBuf::from))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some((2, "c")));
        assert_eq!(first_difference("a\nb\n", "a\n"), Some((2, "")));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some((2, "b")));
    }

    #[test]
    fn the_program_is_told_from_its_tests() {
        let message = |test: bool| {
            format!(
                r#"{{"target":{{"name":"mini-sns","kind":["bin"]}},"profile":{{"test":{test}}},
                "executable":"/target/debug/mini-sns"}}"#
            )
        };
        let path = Some(PathBuf::from("/target/debug/mini-sns"));
        assert_eq!(executable(&message(false), "mini-sns"), path);
        assert_eq!(executable(&message(true), "mini-sns"), None);
        assert_eq!(executable(&message(false), "xtask"), None);
        assert_eq!(executable("not JSON", "mini-sns"), None);
    }
}
