//! `cargo xtask testbed` as it is used: each test has a bed of its own, in a target directory of
//! its own, beside whatever bed is up.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A place for a bed.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for folder in ["target", "tmp", "bin"] {
            fs::create_dir(place.0.path().join(folder)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("target/testbed.json")
    }

    fn bed(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file()).unwrap()).unwrap()
    }

    fn command(&self, action: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let path = std::env::var("PATH").unwrap();
        command
            .args(["testbed", action])
            .env("CARGO_TARGET_DIR", self.path("target"))
            .env("TMPDIR", self.path("tmp"))
            .env("PATH", format!("{}:{path}", self.path("bin").display()));
        command
    }

    fn run(&self, action: &str) -> Output {
        self.command(action).output().unwrap()
    }

    /// Puts another program in Java's place.
    fn replace_java(&self, script: &str) {
        let path = self.path("bin/java");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(running(self.0.path()), Vec::<i32>::new());
        assert_eq!(fs::read_dir(self.path("tmp")).unwrap().count(), 0);
        assert!(!self.file().exists());
    }
}

impl Drop for Place {
    /// Also a failed test leaves nothing.
    fn drop(&mut self) {
        let _ = self.run("down");
    }
}

/// The processes that have the directory in their environment, or work in it: Redis writes over its
/// environment.
fn running(directory: &Path) -> Vec<i32> {
    let name = directory.to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let works_in_it =
            fs::read_link(entry.path().join("cwd")).is_ok_and(|path| path.starts_with(directory));
        if works_in_it || String::from_utf8_lossy(&environment).contains(name) {
            found.push(pid);
        }
    }
    found
}

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).expect("a number"), signal).expect("it runs");
}

fn pids(bed: &Value, part: &str) -> Vec<i32> {
    let processes = bed["processes"].as_array().expect("processes");
    let of_part = processes.iter().filter(|process| process["part"] == part);
    of_part
        .map(|process| serde_json::from_value(process["pid"].clone()).expect("a number"))
        .collect()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_bed_comes_up_once_is_mended_where_it_broke_and_goes_with_its_data() {
    let place = Place::new();
    let none = place.run("status");
    assert_eq!(none.status.code(), Some(1));
    assert!(errors(&none).contains("cargo xtask testbed up"));

    let up = place.run("up");
    assert!(up.status.success(), "{}", errors(&up));
    let bed = place.bed();
    for name in ["dynamodb", "dynoxide", "services", "guarded"] {
        assert!(bed[name].as_str().unwrap().starts_with("http://127.0.0.1:"));
    }
    assert!(bed["redis"].as_str().unwrap().starts_with("redis://127.0.0.1:"));
    assert_eq!(bed["redisCluster"].as_array().unwrap().len(), 3);
    assert_eq!(running(place.0.path()).len(), 8);
    assert!(place.run("status").status.success());

    assert!(place.run("up").status.success());
    assert_eq!(place.bed(), bed, "up twice is one");

    let dead = pids(&bed, "redisCluster")[1];
    kill(dead, Signal::KILL);
    let broken = place.run("status");
    assert_eq!(broken.status.code(), Some(1));
    assert!(errors(&broken).contains("no answer: redisCluster"));

    assert!(place.run("up").status.success());
    let mended = place.bed();
    assert_eq!(mended["dynamodb"], bed["dynamodb"]);
    assert_eq!(pids(&mended, "services"), pids(&bed, "services"));
    assert!(!pids(&mended, "redisCluster").contains(&dead));
    assert!(place.run("status").status.success());
    assert_eq!(running(place.0.path()).len(), 8);

    assert!(place.run("down").status.success());
    place.assert_nothing_is_left();
    assert!(place.run("down").status.success());
}

#[test]
fn nothing_is_left_of_a_bed_that_did_not_come_up() {
    let place = Place::new();
    place.replace_java("echo no memory left; exit 3");
    let up = place.run("up");
    assert_eq!(up.status.code(), Some(1));
    assert!(errors(&up).contains("dynamodb"));
    assert!(errors(&up).contains("no memory left"));
    place.assert_nothing_is_left();
}

#[test]
fn nothing_is_left_of_a_bed_whose_start_was_told_to_stop() {
    let place = Place::new();
    // Never answers.
    place.replace_java("exec sleep 1000");
    let mut command = place.command("up");
    let mut up = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let all_started = || {
        let bed = fs::read(place.file()).unwrap_or_default();
        serde_json::from_slice::<Value>(&bed).is_ok_and(|bed| bed["redisCluster"][2].is_string())
    };
    while !all_started() {
        thread::sleep(Duration::from_millis(20));
        assert!(up.try_wait().unwrap().is_none());
    }
    kill(i32::try_from(up.id()).unwrap(), Signal::TERM);
    assert_eq!(up.wait().unwrap().code(), Some(1));
    place.assert_nothing_is_left();
}
