//! Processes in the background: each in a group of its own, known again by its number and the time
//! it started, since numbers come again.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::parts::Part;
use crate::shell::line;
use crate::signals::Signals;

/// Ports that are offered: below those that systems give to whoever asks for any, and with room
/// for the second port of a Redis cluster's node.
const PORTS: std::ops::Range<u16> = 10_240..20_240;
/// A Redis cluster's node speaks to the others at its port plus this.
const BUS_OFFSET: u16 = 10_000;
/// Between two looks at something that cannot be waited for.
const PAUSE: Duration = Duration::from_millis(50);
/// From the request to end to the kill.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Lines of a log that are shown when its process failed.
const LAST_LINES: usize = 8;
/// The name of a process's log in its directory.
const LOG: &str = "log";

/// Closes whatever the caller has open (a lock, a pipe) before it becomes the program: a process
/// in the background would hold it for ever.
const CLOSE_AND_RUN: &str = r#"for fd in /dev/fd/*; do
  fd=${fd##*/}; [ "$fd" -le 2 ] || eval "exec $fd>&-"
done
exec "$@""#;

/// A process of the bed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Process {
    /// What it is part of.
    pub(super) part: Part,
    /// Where it listens.
    pub(super) port: u16,
    /// Its number, which is its group's as well.
    pub(super) pid: u32,
    /// When it started, in the kernel's ticks since the machine did.
    pub(super) started: u64,
}

impl Process {
    fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Signals its group. One that is gone needs no signal.
    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, signal);
        }
    }
}

/// Starts a command in the background, with its output in `folder`.
pub(super) fn start(part: Part, port: u16, command: &Command, folder: &Path) -> Result<Process> {
    let line = line(command);
    let log = File::create(folder.join(LOG)).context("cannot make a log")?;
    let mut detached = Command::new("bash");
    detached
        .args(["-c", CLOSE_AND_RUN, "bash"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap_or(folder))
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share a log")?)
        .stderr(log)
        .process_group(0);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => detached.env(name, value),
            None => detached.env_remove(name),
        };
    }
    let mut child = detached.spawn().with_context(|| format!("cannot start `{line}`"))?;
    let pid = child.id();
    // Its number is not given away before its end was waited for.
    let started = start_time(pid);
    thread::spawn(move || child.wait());
    let started =
        started.with_context(|| format!("`{line}` ended at once{}", last_words(folder)))?;
    Ok(Process { part, port, pid, started })
}

/// Waits until the part answers; an end of one of its processes ends the waiting.
pub(super) fn wait(
    part: Part,
    processes: &[&Process],
    timeout: Duration,
    signals: &Signals,
) -> Result<()> {
    let ports: Vec<u16> = processes.iter().map(|process| process.port).collect();
    let begin = Instant::now();
    loop {
        if processes.len() != usize::from(part.processes()) {
            bail!("is not running");
        }
        if let Some(dead) = processes.iter().find(|process| !process.is_alive()) {
            bail!("process {} is gone", dead.pid);
        }
        match part.ask(&ports) {
            Ok(()) => return Ok(()),
            Err(error) if begin.elapsed() > timeout => {
                return Err(error.context(format!("no answer in {} s", timeout.as_secs())));
            }
            Err(_) => thread::sleep(PAUSE),
        }
        signals.check()?;
    }
}

/// Asks the processes to end, and kills those that do not, with whatever they started.
pub(super) fn stop(processes: &[&Process]) -> Result<()> {
    let alive = || processes.iter().filter(|process| process.is_alive());
    let stopping: Vec<_> = alive().collect();
    for process in &stopping {
        process.signal(Signal::TERM);
    }
    for patience in [STOP_TIMEOUT, STOP_TIMEOUT] {
        let begin = Instant::now();
        while alive().next().is_some() && begin.elapsed() < patience {
            thread::sleep(PAUSE);
        }
        // Also where the first of a group has ended: the rest of it may not have.
        for process in &stopping {
            process.signal(Signal::KILL);
        }
    }
    match alive().next() {
        Some(process) => bail!("process {} cannot be stopped", process.pid),
        None => Ok(()),
    }
}

/// The last lines that a process wrote, or nothing.
pub(super) fn last_words(folder: &Path) -> String {
    let log = fs::read(folder.join(LOG)).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&log))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut said = String::new();
    for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
        let _ = write!(said, "\n  | {line}");
    }
    said
}

/// A port that nobody listens at, nor at its second one. Each call starts its search elsewhere, so
/// that it does not offer again what a process has not taken yet.
pub(super) fn free_port() -> Result<u16> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    let calls = CALLS.fetch_add(1, Ordering::Relaxed);
    // 37 and 101 spread neighbouring process numbers and calls over the range.
    let first = std::process::id().wrapping_mul(37).wrapping_add(calls.wrapping_mul(101)) % count;
    let free = |port: &u16| {
        let listens = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        listens(*port) && listens(*port + BUS_OFFSET)
    };
    (0..count)
        .filter_map(|step| u16::try_from((first + step) % count).ok())
        .map(|place| PORTS.start + place)
        .find(free)
        .context("no free port")
}

/// When a process started, in ticks; nothing when there is none, or it has ended and only its
/// number is left. Linux's /proc is where this can be asked without unsafe code.
fn start_time(pid: u32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields after the program's name, which is in parentheses and may hold anything: the state is the
/// first, the start the twentieth.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    match *fields.first()? {
        "Z" | "X" => None,
        _ => fields.get(19)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_read_past_any_name_and_the_dead_have_none() {
        let fields = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(parse_stat(&format!("9 (a ) b) S {fields}")), Some(4_711));
        assert_eq!(parse_stat(&format!("9 (a) Z {fields}")), None);
        assert_eq!(parse_stat("9 (a) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn a_process_is_known_by_its_start_too() {
        let pid = std::process::id();
        let started = start_time(pid).unwrap();
        let process = |started| Process { part: Part::Redis, port: 1, pid, started };
        assert!(process(started).is_alive());
        assert!(!process(started + 1).is_alive());
        // Not ours: stopping it does nothing, or this test would not go on.
        stop(&[&process(started + 1)]).unwrap();
    }

    #[test]
    fn a_process_that_ignores_the_request_is_killed_with_its_group() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("bash");
        command.args(["-c", "sleep 1000 & echo $! >child; wait"]);
        let process = start(Part::Redis, 1, &command, folder.path()).unwrap();
        let child = folder.path().join("child");
        let pid = loop {
            match fs::read_to_string(&child).unwrap_or_default().trim().parse() {
                Ok(pid) => break pid,
                Err(_) => thread::sleep(PAUSE),
            }
        };
        assert!(start_time(pid).is_some());
        stop(&[&process]).unwrap();
        assert!(!process.is_alive());
        while start_time(pid).is_some() {
            thread::sleep(PAUSE);
        }
    }

    #[test]
    fn ports_differ_from_call_to_call() {
        let (one, two) = (free_port().unwrap(), free_port().unwrap());
        assert_ne!(one, two);
        assert!(PORTS.contains(&one) && PORTS.contains(&two));
    }

    #[test]
    fn only_the_last_lines_are_shown() {
        let text: String = (0..40).map(|number| format!("line {number}\n\n")).collect();
        let said = last_lines(&text);
        assert_eq!(said.lines().filter(|line| !line.is_empty()).count(), LAST_LINES);
        assert!(said.ends_with("| line 39"));
        assert_eq!(last_lines(""), "");
    }
}
