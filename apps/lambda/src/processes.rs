//! A message that has failed before is handled in a process of its own: the bootstrap, started once
//! more. A panic there, an overflow of the stack or a loop without end takes no other message of
//! the event with it.
//!
//! The two processes talk over a pair of sockets. The new one has its end as standard input: it
//! reads what is asked, and writes the answer. Standard output is the log, as ever. Its half is
//! [`crate::apart`].

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

use async_trait::async_trait;
use aws::bus::lambda::{Apart, SqsRecord};
use kernel::Clock;
use kernel::clock::SystemClock;
use serde_json::json;
use serde_json::value::to_raw_value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::apart::{ARGUMENT, Answer};
use crate::function::{Asked, REQUEST_ID};

/// Starts a process for each message.
pub(crate) struct Processes;

#[async_trait]
impl Apart for Processes {
    async fn handle(&self, record: &SqsRecord, until: Instant) -> Answer {
        match timeout_at(until, in_a_process(record, until)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(format!("no process could be started for it: {error}")),
            Err(_) => Err("the handler took longer than its share of the time".to_owned()),
        }
    }
}

async fn in_a_process(record: &SqsRecord, until: Instant) -> io::Result<Answer> {
    let deadline = SystemClock.now() + until.saturating_duration_since(Instant::now());
    let asked = serde_json::to_vec(&Asked {
        event: to_raw_value(&json!({"again": record}))?,
        request_id: REQUEST_ID.try_get().unwrap_or_default(),
        deadline: deadline.millis(),
    })?;
    let (ours, its) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let ours = tokio::net::UnixStream::from_std(ours)?;
    let mut bootstrap = Command::new("/proc/self/exe");
    let mut process = Process(bootstrap.arg(ARGUMENT).stdin(OwnedFd::from(its)).spawn()?);
    // It has the other end too, and an answer is over when nobody has it any more.
    drop(bootstrap);
    let mut told = Vec::new();
    // Where it ends early, how it ended says more than that it does not read or write.
    let _ = exchange(ours, &asked, &mut told).await;
    let ended = process.0.wait()?;
    let silent = |_| Err(format!("the handler's process ended without an answer: {ended}"));
    Ok(serde_json::from_slice(&told).unwrap_or_else(silent))
}

/// A process that does not outlive whoever waits for it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn exchange(
    mut channel: tokio::net::UnixStream,
    asked: &[u8],
    told: &mut Vec<u8>,
) -> io::Result<()> {
    channel.write_all(asked).await?;
    channel.shutdown().await?;
    channel.read_to_end(told).await.map(drop)
}
