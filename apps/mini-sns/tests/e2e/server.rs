//! A running Mini-SNS of one's own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything that must happen may take on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) admin: String,
    pub(crate) data: PathBuf,
    pub(crate) options: Vec<String>,
    /// Removed with the server, unless the data directory is the caller's.
    _dir: Option<tempfile::TempDir>,
    pub(crate) http: reqwest::Client,
}

impl Server {
    pub(crate) async fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut server = Self::start_in(&data, options).await;
        server._dir = Some(dir);
        server
    }

    pub(crate) async fn start_in(data: &Path, options: &[&str]) -> Self {
        Self::start_by(program(), data, options).await
    }

    /// Starts it with its data on a file system of its own, of this size.
    pub(crate) async fn start_on_small_disk(size: &str, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mount = format!("mount -t tmpfs -o size={size} none \"$0\" && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &mount]).arg(dir.path());
        command.arg(env!("CARGO_BIN_EXE_mini-sns"));
        let mut server = Self::start_by(command, &dir.path().join("data"), options).await;
        server._dir = Some(dir);
        server
    }

    async fn start_by(command: Command, data: &Path, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let (child, url, admin) = spawn(command, data, &options).await;
        let http = client();
        Self { child, url, admin, data: data.to_owned(), options, _dir: None, http }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the program again on the same data.
    pub(crate) async fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        (self.child, self.url, self.admin) = spawn(program(), &self.data, &self.options).await;
        self.http = client();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, as an operator would.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) async fn exited(&mut self) -> ExitStatus {
        eventually("the server ends", async || self.child.try_wait().unwrap()).await
    }

    /// Waits until every event has been handled, and demands that none ended in the dead letters.
    pub(crate) async fn settled(&self) {
        eventually("outbox and queues are empty", async || {
            let queues: Value = self
                .http
                .get(format!("{}/queues", self.admin))
                .send()
                .await
                .ok()?
                .json()
                .await
                .ok()?;
            let rows = queues["queues"].as_array().expect("a list of queues");
            assert!(!rows.is_empty(), "there are queues");
            let dead: u64 = rows.iter().map(|row| row["dead"].as_u64().unwrap()).sum();
            assert_eq!(dead, 0, "no event ends in the dead letters: {queues}");
            let left: u64 = rows
                .iter()
                .map(|row| row["waiting"].as_u64().unwrap() + row["inFlight"].as_u64().unwrap())
                .sum();
            let outbox = queues["outbox"].as_u64().expect("rows in the outboxes");
            (left + outbox == 0).then_some(())
        })
        .await;
    }

    /// Stops it in good order and lets `mini-sns verify` look for broken rules.
    pub(crate) async fn verified(mut self) {
        self.settled().await;
        self.terminate();
        assert_eq!(self.exited().await.code(), Some(0), "a clean stop");
        verify(&self.data);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Demands that the data of a stopped server breaks no rule.
pub(crate) fn verify(data: &Path) {
    let verified = program().args(["verify", "--data"]).arg(data).output().unwrap();
    let text = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "verify finds nothing: {text}");
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mini-sns"));
    command.env_clear().env("RUST_BACKTRACE", "1");
    command
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}

async fn spawn(mut command: Command, data: &Path, options: &[String]) -> (Child, String, String) {
    command.arg("serve").arg("--data").arg(data);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--log-filter", "warn", "--chaos-seed", "7"]);
    let mut child = command.args(options).stdout(Stdio::piped()).spawn().unwrap();
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
    (child, url, admin)
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
