//! Processes of the program, as the tests of both backends start them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::PATIENCE;

/// A process that serves.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) admin: String,
}

impl Running {
    /// Starts `serve` with what the command says already, and waits until it prints where it is.
    pub(crate) async fn spawn(mut command: Command) -> Self {
        command.args(["--admin-listen", "127.0.0.1:0"]);
        if !command.get_args().any(|arg| arg == "--log-filter") {
            command.args(["--log-filter", "warn"]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (found, mut addresses) = tokio::sync::mpsc::unbounded_channel();
        // The thread goes on reading, so that the program can go on printing.
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(address) = line.split_whitespace().find(|word| word.contains("://")) {
                    let _ = found.send(address.trim_end_matches('/').to_owned());
                }
            }
        });
        let mut next = async || {
            let address = tokio::time::timeout(PATIENCE, addresses.recv()).await;
            address.expect("the server starts in time").expect("it prints its addresses")
        };
        let url = next().await;
        let admin = next().await;
        Self { child, url, admin }
    }

    /// Ends it on the spot, where it has not ended.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop, as an operator would.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) async fn exited(&mut self) -> ExitStatus {
        eventually("the server ends", async || self.child.try_wait().unwrap()).await
    }

    /// Events in its queues and outboxes; none while it does not answer. Demands that none ended in
    /// the dead letters.
    pub(crate) async fn unhandled(&self, http: &reqwest::Client) -> Option<u64> {
        let asked = http.get(format!("{}/queues", self.admin)).send().await.ok()?;
        let queues: Value = asked.json().await.ok()?;
        let rows = queues["queues"].as_array().expect("a list of queues");
        assert!(!rows.is_empty(), "there are queues");
        let dead: u64 = rows.iter().map(|row| row["dead"].as_u64().unwrap()).sum();
        assert_eq!(dead, 0, "no event ends in the dead letters: {queues}");
        let left: u64 = rows
            .iter()
            .map(|row| row["waiting"].as_u64().unwrap() + row["inFlight"].as_u64().unwrap())
            .sum();
        Some(left + queues["outbox"].as_u64().expect("rows in the outboxes"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mini-sns"));
    command.env_clear().env("RUST_BACKTRACE", "1");
    command
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}

/// Tries until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
