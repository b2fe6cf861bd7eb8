//! WebSockets: opening many, and what an idle one costs the server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use indicatif::ProgressBar;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::mix::Operation;
use super::people::Person;
use super::report::{Memory, Tally};
use super::target::{Stream, Target};

/// Sockets that are being opened at once.
const OPENING_MAX: usize = 64;
/// Time that opening a socket may take.
const OPEN_MAX: Duration = Duration::from_secs(15);
/// Buffers of a socket; the library's own 128 KiB would be too much for thousands.
const BUFFER_BYTES: usize = 4096;
/// Time that idle sockets are held before the server's memory is read, so that what a handshake
/// needed for a moment is not counted.
const HELD: Duration = Duration::from_secs(2);

/// An open socket that has said hello.
pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

/// Opens one; the error is the status, where the server refused.
pub(super) async fn open(target: &Target, person: &Person) -> Result<Socket> {
    let request = target.socket_url(&person.token).into_client_request()?;
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(16 * BUFFER_BYTES);
    let opened = async {
        let stream = target.connect().await?;
        let opened =
            tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        let mut socket = match opened {
            Ok((socket, _)) => socket,
            Err(Error::Http(response)) => bail!("{}", response.status().as_u16()),
            Err(error) => return Err(error.into()),
        };
        match socket.next().await {
            Some(Ok(Message::Text(text))) if text.contains("\"hello\"") => Ok(socket),
            other => bail!("no hello frame but {other:?}"),
        }
    };
    tokio::time::timeout(OPEN_MAX, opened).await.context("a socket took too long to open")?
}

/// Opens `count` sockets, owners in turn.
pub(super) async fn open_many(
    target: &Target,
    people: &[Person],
    count: usize,
    tally: &mut Tally,
    bar: &ProgressBar,
) -> Result<Vec<Socket>> {
    bar.set_message("opening sockets");
    bar.set_position(0);
    bar.set_length(u64::try_from(count)?);
    let target = Arc::new(target.clone());
    let turns = Arc::new(Semaphore::new(OPENING_MAX));
    let mut opening = JoinSet::new();
    for number in 0..count {
        let (target, turns) = (Arc::clone(&target), Arc::clone(&turns));
        let person = people[number % people.len()].clone();
        opening.spawn(async move {
            let _turn = turns.acquire_owned().await?;
            let started = Instant::now();
            let socket = open(&target, &person).await;
            anyhow::Ok((number, socket, started.elapsed()))
        });
    }
    let mut sockets = Vec::with_capacity(count);
    while let Some(opened) = opening.join_next().await {
        match opened?? {
            (number, Ok(socket), time) => {
                tally.took(Operation::Open, time);
                sockets.push((number, socket));
            }
            (_, Err(error), _) => tally.failed(Operation::Open, format!("{error:#}")),
        }
        bar.inc(1);
    }
    sockets.sort_unstable_by_key(|(number, _)| *number);
    Ok(sockets.into_iter().map(|(_, socket)| socket).collect())
}

/// Opens idle sockets and holds them; with the server's process id, reads its memory around that.
pub(super) async fn idle(
    target: &Target,
    people: &[Person],
    count: usize,
    pid: Option<u32>,
    bar: &ProgressBar,
) -> Result<(Tally, Option<Memory>)> {
    let mut tally = Tally::default();
    // One round first, so that what the server sets up once is not put on the sockets.
    drop(open_many(target, people, people.len().min(count), &mut tally, bar).await?);
    let before = pid.map(resident_bytes).transpose()?;
    let mut tally = Tally::default();
    let sockets = open_many(target, people, count, &mut tally, bar).await?;
    let opened = u64::try_from(sockets.len())?;
    let mut holding = JoinSet::new();
    for mut socket in sockets {
        // Reading answers the server's pings.
        holding.spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
    }
    tokio::select! {
        () = tokio::time::sleep(HELD) => {}
        _ = holding.join_next() => bail!("the server closed an idle socket"),
    }
    let after = pid.map(resident_bytes).transpose()?;
    let memory = before.zip(after).map(|(before_bytes, after_bytes)| Memory {
        before_bytes,
        after_bytes,
        sockets: opened,
    });
    Ok((tally, memory))
}

/// Resident memory of a process.
fn resident_bytes(pid: u32) -> Result<u64> {
    let path = PathBuf::from(format!("/proc/{pid}/status"));
    let status = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibi: u64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("the process shows no memory")?
        .parse()?;
    Ok(kibi * 1024)
}
