//! `testbed.json`: the addresses that tests read, and the processes behind them.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::install::Programs;
use super::parts::Part;
use super::process::{self, Process};
use crate::signals::Signals;

/// What runs.
#[derive(Serialize, Deserialize)]
#[serde(from = "Record", into = "Record")]
#[derive(Clone)]
pub(super) struct Bed {
    /// Whether it stays when the tests end: it was brought up by `testbed up`.
    pub(super) keep: bool,
    data: PathBuf,
    processes: Vec<Process>,
}

/// The file. Tests read its addresses, which are made from the processes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    dynamodb: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    dynoxide: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    services: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    guarded: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    redis: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    redis_cluster: Vec<String>,
    keep: bool,
    data: PathBuf,
    processes: Vec<Process>,
}

impl From<Bed> for Record {
    fn from(bed: Bed) -> Self {
        let urls = |part: Part| bed.of(part).map(move |process| part.url(process.port));
        Self {
            dynamodb: urls(Part::Dynamodb).next(),
            dynoxide: urls(Part::Dynoxide).next(),
            services: urls(Part::Services).next(),
            guarded: urls(Part::Guarded).next(),
            redis: urls(Part::Redis).next(),
            redis_cluster: urls(Part::RedisCluster).collect(),
            keep: bed.keep,
            data: bed.data.clone(),
            processes: bed.processes.clone(),
        }
    }
}

impl From<Record> for Bed {
    fn from(record: Record) -> Self {
        Self { keep: record.keep, data: record.data, processes: record.processes }
    }
}

impl Bed {
    /// One in which nothing runs, with an empty directory for its data.
    pub(super) fn new() -> Result<Self> {
        let data = tempfile::Builder::new()
            .prefix("mini-sns-testbed-")
            .tempdir()
            .context("cannot make a directory for the test bed's data")?;
        Ok(Self { keep: false, data: data.keep(), processes: Vec::new() })
    }

    /// The one that was written, if there is one.
    pub(super) fn read(file: &Path) -> Result<Option<Self>> {
        match fs::read(file) {
            Ok(text) => {
                let bed = serde_json::from_slice(&text);
                Ok(Some(bed.with_context(|| format!("{} is damaged", file.display()))?))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Writes it in one step: a reader sees the old or the new one.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let cannot_write = || format!("cannot write {}", file.display());
        let new = file.with_extension("json.new");
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(&new, text).with_context(cannot_write)?;
        fs::rename(&new, file).with_context(cannot_write)
    }

    /// Removes the data and the file.
    pub(super) fn remove(self, file: &Path) -> Result<()> {
        for path in [&self.data, file] {
            let removed =
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let path = path.display();
                    return Err(error).with_context(|| format!("cannot remove {path}"));
                }
                _ => (),
            }
        }
        Ok(())
    }

    /// Whether nothing runs.
    pub(super) fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Starts the processes of a part, and writes each down as soon as it runs.
    pub(super) fn start(&mut self, part: Part, programs: &Programs, file: &Path) -> Result<()> {
        for number in 1..=part.processes() {
            let port = process::free_port()?;
            let folder = self.folder(part, number);
            if folder.exists() {
                fs::remove_dir_all(&folder).context("cannot remove old data")?;
            }
            fs::create_dir_all(&folder).context("cannot make a directory for data")?;
            let command = part.command(port, programs, &folder);
            let started = process::start(part, port, &command, &folder);
            self.processes.push(started.with_context(|| part.name())?);
            self.write(file)?;
        }
        Ok(())
    }

    /// Waits until a part answers, all of its processes.
    pub(super) fn wait(&self, part: Part, timeout: Duration, signals: &Signals) -> Result<()> {
        let processes: Vec<&Process> = self.of(part).collect();
        process::wait(part, &processes, timeout, signals).with_context(|| {
            let mut said = part.name().to_owned();
            for number in 1..=part.processes() {
                said.push_str(&process::last_words(&self.folder(part, number)));
            }
            said
        })
    }

    /// Stops the processes of a part, each by its own number.
    pub(super) fn stop(&mut self, part: Part) -> Result<()> {
        let mine: Vec<&Process> = self.of(part).collect();
        process::stop(&mine)?;
        self.processes.retain(|process| process.part != part);
        Ok(())
    }

    fn folder(&self, part: Part, number: u16) -> PathBuf {
        self.data.join(format!("{}-{number}", part.name()))
    }

    fn of(&self, part: Part) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(move |process| process.part == part)
    }
}

impl Display for Bed {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for process in &self.processes {
            let url = process.part.url(process.port);
            writeln!(formatter, "{:<12}  {url}  (pid {})", process.part.name(), process.pid)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(part: Part, port: u16) -> Process {
        Process { part, port, pid: 7, started: 1 }
    }

    #[test]
    fn the_file_names_the_addresses_that_tests_read() {
        let bed = Bed {
            keep: true,
            data: PathBuf::from("/data"),
            processes: vec![
                process(Part::Dynamodb, 1),
                process(Part::Services, 2),
                process(Part::Redis, 3),
                process(Part::RedisCluster, 4),
                process(Part::RedisCluster, 5),
                process(Part::Dynoxide, 6),
                process(Part::Guarded, 7),
            ],
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("testbed.json");
        bed.write(&file).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(json["dynamodb"], "http://127.0.0.1:1");
        assert_eq!(json["dynoxide"], "http://127.0.0.1:6");
        assert_eq!(json["services"], "http://127.0.0.1:2");
        assert_eq!(json["guarded"], "http://127.0.0.1:7");
        assert_eq!(json["redis"], "redis://127.0.0.1:3");
        let nodes = serde_json::json!(["redis://127.0.0.1:4", "redis://127.0.0.1:5"]);
        assert_eq!(json["redisCluster"], nodes);

        let again = Bed::read(&file).unwrap().unwrap();
        assert!(again.keep);
        assert_eq!(again.data, Path::new("/data"));
        assert_eq!(again.of(Part::RedisCluster).count(), 2);
    }

    #[test]
    fn without_a_file_nothing_runs_and_a_damaged_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("testbed.json");
        assert!(Bed::read(&file).unwrap().is_none());
        fs::write(&file, "{").unwrap();
        assert!(Bed::read(&file).is_err());
    }

    #[test]
    fn removing_takes_the_data_along_and_may_come_twice() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("testbed.json");
        let bed = Bed::new().unwrap();
        bed.write(&file).unwrap();
        fs::write(bed.data.join("log"), "x").unwrap();
        bed.clone().remove(&file).unwrap();
        assert!(!bed.data.exists() && !file.exists());
        bed.remove(&file).unwrap();
    }
}
