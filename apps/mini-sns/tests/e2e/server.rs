//! A running Mini-SNS of one's own, on the embedded backend.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

pub(crate) use crate::program::{client, eventually, program};

use crate::program::Running;

/// How long anything that must happen may take on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    running: Running,
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

    /// Starts it with its log, JSON lines, in a file.
    pub(crate) async fn start_logging(log: &Path, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = program();
        command.stderr(std::fs::File::create(log).unwrap());
        let mut server = Self::start_by(command, &dir.path().join("data"), options).await;
        server._dir = Some(dir);
        server
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

    pub(crate) async fn start_by(command: Command, data: &Path, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let running = spawn(command, data, &options).await;
        let (url, admin) = (running.url.clone(), running.admin.clone());
        let (data, http) = (data.to_owned(), client());
        Self { running, url, admin, data, options, _dir: None, http }
    }

    pub(crate) fn kill(&mut self) {
        self.running.kill();
    }

    /// Starts the program again on the same data.
    pub(crate) async fn restart(&mut self) {
        self.running.kill();
        self.start_again(program()).await;
        self.http = client();
    }

    /// Starts what comes after the program has ended, on the same data and by this command.
    pub(crate) async fn start_again(&mut self, command: Command) {
        self.running = spawn(command, &self.data, &self.options).await;
        (self.url, self.admin) = (self.running.url.clone(), self.running.admin.clone());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.child.id()
    }

    /// Asks it to stop, as an operator would.
    pub(crate) fn terminate(&self) {
        self.running.terminate();
    }

    pub(crate) async fn exited(&mut self) -> ExitStatus {
        self.running.exited().await
    }

    /// Waits until every event has been handled, and demands that none ended in the dead letters.
    pub(crate) async fn settled(&self) {
        eventually("outbox and queues are empty", async || {
            (self.running.unhandled(&self.http).await? == 0).then_some(())
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

/// Demands that the data of a stopped server breaks no rule.
pub(crate) fn verify(data: &Path) {
    let verified = program().args(["verify", "--data"]).arg(data).output().unwrap();
    let text = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "verify finds nothing: {text}");
}

async fn spawn(mut command: Command, data: &Path, options: &[String]) -> Running {
    command.arg("serve").arg("--data").arg(data);
    command.args(["--listen", "127.0.0.1:0", "--chaos-seed", "7"]).args(options);
    Running::spawn(command).await
}
