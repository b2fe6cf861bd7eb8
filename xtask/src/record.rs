//! Measured records in documents: each stands between two marks and is replaced as a whole.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::output;

/// Puts the record `name` into a document in the place of the last one, or at its end. `command`
/// is what writes it.
pub(crate) fn write(path: &Path, name: &str, command: &str, record: &str) -> Result<()> {
    let document = fs::read_to_string(path).unwrap_or_else(|_| "# Performance record\n".into());
    fs::write(path, replaced(&document, name, command, record))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The document with the record in its place.
pub(crate) fn replaced(document: &str, name: &str, command: &str, record: &str) -> String {
    let begin = format!("<!-- {name}: written by `{command}` -->");
    let end = format!("<!-- {name}: end -->");
    let (before, after) = match document.split_once(&begin) {
        Some((before, rest)) => (before, rest.split_once(&end).map_or("", |(_, after)| after)),
        None => (document, "\n"),
    };
    let gap = if before.ends_with("\n\n") { "" } else { "\n" };
    format!("{before}{gap}{begin}\n{record}{end}{after}")
}

/// When, on what and how: the line above a table.
pub(crate) fn describe(command: &str, how: &str) -> Result<String> {
    let date = String::from_utf8(output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?)?;
    let cores = std::thread::available_parallelism()?;
    let memory = kibi_field(&fs::read_to_string("/proc/meminfo")?, "MemTotal:")? / 1024 / 1024;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, name)| name);
    Ok(format!(
        "Measured on {} by `{command}`: {cores} cores ({model}), {memory} GiB of memory, Linux {}; \
         {how}\n",
        date.trim(),
        kernel.trim(),
    ))
}

/// The number of a `Name:   123 kB` line.
pub(crate) fn kibi_field(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("there is no {name}"))?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_takes_the_place_of_the_last() {
        let replaced = |document: &str, record| replaced(document, "bench", "cargo x", record);
        let (begin, end) = ("<!-- bench: written by `cargo x` -->", "<!-- bench: end -->");
        let once = replaced("# Title\n", "one\n");
        assert_eq!(once, format!("# Title\n\n{begin}\none\n{end}\n"));
        let twice = replaced(&once, "two\n");
        assert_eq!(twice, format!("# Title\n\n{begin}\ntwo\n{end}\n"));
    }

    #[test]
    fn a_field_is_found() {
        let text = "VmPeak:\t    9 kB\nVmRSS:\t  4321 kB\n";
        assert_eq!(kibi_field(text, "VmRSS:").unwrap(), 4321);
        assert!(kibi_field(text, "VmSwap:").is_err());
    }

    #[test]
    fn records_stand_beside_each_other() {
        let both = replaced("# T\n", "bench", "b", "one\n");
        let both = replaced(&both, "lambda", "l", "two\n");
        let changed = replaced(&both, "bench", "b", "three\n");
        assert_eq!(changed, both.replace("one", "three"));
    }
}
