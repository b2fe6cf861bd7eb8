//! The programs that are measured, and the generator that measures them.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Scratch;
use crate::shell::output;

/// Time that the events of a run may take to be handled.
const SETTLE_MAX: Duration = Duration::from_secs(1_800);
/// Time between two looks at the queues.
const SETTLE_EVERY: Duration = Duration::from_millis(200);

/// Limits far above what one generator asks, so that none of them is what is measured.
const CONFIGURATION: &str = r#"
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
log_filter = "error"
user_rate_per_sec = 1000000
user_rate_burst = 1000000
address_rate_per_sec = 1000000
address_rate_burst = 1000000
auth_rate_per_sec = 100000
auth_rate_burst = 100000
posts_per_minute = 1000000
access_token_ttl = "1d"
"#;

/// Where the programs are, and the directory of this run.
pub(super) struct Programs {
    release: PathBuf,
    scratch: Scratch,
}

impl Programs {
    pub(super) fn new(target: &Path) -> Result<Self> {
        let programs = Self { release: target.join("release"), scratch: Scratch::new(target)? };
        std::fs::write(programs.path("bench.toml"), CONFIGURATION)?;
        Ok(programs)
    }

    /// A path in the directory of this run.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.scratch.0.join(name)
    }

    /// Starts a server on the data directory of this name.
    pub(super) fn serve(&self, data: &str) -> Result<Server> {
        self.serve_with(data, &[])
    }

    /// The same with more options.
    pub(super) fn serve_with(&self, data: &str, options: &[&str]) -> Result<Server> {
        let mut command = Command::new(self.release.join("mini-sns"));
        command.arg("serve").arg("--config").arg(self.path("bench.toml"));
        command.arg("--data").arg(self.path(data)).args(options);
        let begun = Instant::now();
        let mut program = Program::start(command)?;
        let url = program.next_url()?;
        let started_in = begun.elapsed();
        let admin = program.next_url()?;
        Ok(Server { program, url, admin, started_in })
    }

    /// A key to encrypt data with, that nobody else can read.
    pub(super) fn key_file(&self) -> Result<PathBuf> {
        let path = self.path("encryption.key");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&b"00".repeat(32))?;
        Ok(path)
    }

    /// Starts the ceilings; they answer a page of the server's.
    pub(super) fn ceiling(&self, server: &str, tokens: &Path) -> Result<Program> {
        let mut command = Command::new(self.release.join("examples/ceiling"));
        command.args(["--page-of", server, "--tokens"]).arg(tokens);
        command.arg("--journal").arg(self.path("ceiling-journal"));
        let mut program = Program::start(command)?;
        program.next_url()?;
        Ok(program)
    }

    /// Runs the generator and reads its report.
    pub(super) fn load(&self, url: &str, options: &[&str]) -> Result<Value> {
        let mut command = self.generator(url, options);
        serde_json::from_slice(&output(&mut command)?).context("the generator's report is no JSON")
    }

    /// Another of the program's commands, to run or to start.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.release.join("mini-sns"));
        command.args(arguments);
        command
    }

    /// Lets the generator sign its people in.
    pub(super) fn set_up(&self, url: &str, options: &[&str]) -> Result<()> {
        output(self.generator(url, options).arg("--setup-only")).map(|_| ())
    }

    fn generator(&self, url: &str, options: &[&str]) -> Command {
        let mut command = Command::new(self.release.join("mini-sns"));
        command.args(["load", url, "--json"]).args(options);
        command
    }
}

/// A program that runs until it is stopped; dropping it kills it.
pub(super) struct Program {
    child: Child,
    lines: BufReader<ChildStdout>,
    urls: Vec<String>,
}

impl Program {
    fn start(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let lines = BufReader::new(child.stdout.take().context("it has no output")?);
        Ok(Self { child, lines, urls: Vec::new() })
    }

    /// Waits for the next address that it prints.
    fn next_url(&mut self) -> Result<String> {
        loop {
            let mut line = String::new();
            ensure!(self.lines.read_line(&mut line)? > 0, "it ended before it named its address");
            if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http")) {
                self.urls.push(url.to_owned());
                return Ok(url.to_owned());
            }
        }
    }

    /// The first address that it printed.
    pub(super) fn first_url(&self) -> Result<String> {
        self.urls.first().cloned().context("it named no address")
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        crate::record::kibi_field(&status, "VmRSS:").map(|kibi| kibi * 1024)
    }

    /// Asks it to end and waits until it has.
    pub(super) fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running Mini-SNS.
pub(super) struct Server {
    pub(super) program: Program,
    pub(super) url: String,
    pub(super) admin: String,
    /// From the start of the process to the line that names its address.
    pub(super) started_in: Duration,
}

impl Server {
    /// Waits until every event has been handled.
    pub(super) fn settled(&self) -> Result<()> {
        let begun = Instant::now();
        while self.unhandled()? > 0 {
            if begun.elapsed() > SETTLE_MAX {
                bail!("events are still unhandled after {} s", SETTLE_MAX.as_secs());
            }
            std::thread::sleep(SETTLE_EVERY);
        }
        Ok(())
    }

    fn unhandled(&self) -> Result<u64> {
        let state: Value = serde_json::from_slice(&get(&self.admin, "/queues")?)?;
        let queues = state["queues"].as_array().context("there are no queues")?;
        let in_queues: u64 = queues
            .iter()
            .flat_map(|queue| [&queue["waiting"], &queue["inFlight"]])
            .filter_map(Value::as_u64)
            .sum();
        Ok(in_queues + state["outbox"].as_u64().context("there is no outbox")?)
    }
}

/// The body of a small answer.
fn get(base: &str, path: &str) -> Result<Vec<u8>> {
    let address = base.strip_prefix("http://").context("an http:// address is wanted")?;
    let mut stream = TcpStream::connect(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{base}{path} does not answer with 200");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    Ok(answer.split_off(end.context("the answer has no end of its head")? + 4))
}
