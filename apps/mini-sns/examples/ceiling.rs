//! The ceilings that `cargo xtask bench` holds Mini-SNS against: bare axum handlers that do the
//! same input and output and nothing else. `GET /timeline` answers fixed bytes; `POST /posts`
//! appends the body to a file and answers after the same group commit and sync.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clap::Parser;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Appends that may go into one sync, as in the embedded table's committer.
const BATCH_MAX: usize = 1000;
/// Appends that may wait for the thread that writes.
const WAITING_MAX: usize = 4096;

#[derive(Parser)]
struct Arguments {
    /// A running Mini-SNS; one page of its timeline is what is answered here
    #[arg(long)]
    page_of: String,
    /// Tokens file of the load generator; the page is that of the first person in it
    #[arg(long)]
    tokens: PathBuf,
    /// File to append posts to
    #[arg(long)]
    journal: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let page = page(&arguments).await?;
    let journal = Journal::open(&arguments.journal)?;
    let router = Router::new()
        .route("/timeline", get(async |State(page): State<Bytes>| json(page)))
        .with_state(page)
        .route("/posts", post(append))
        .with_state(journal);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut out = io::stdout().lock();
    writeln!(out, "http://{}", listener.local_addr()?)?;
    out.flush()?;
    drop(out);
    axum::serve(listener, router).await?;
    Ok(())
}

/// The bytes of one page of a real timeline.
async fn page(arguments: &Arguments) -> Result<Bytes> {
    let kept: Value = serde_json::from_slice(&std::fs::read(&arguments.tokens)?)?;
    let token = kept["people"][0]["token"].as_str().context("the tokens file holds nobody")?;
    let request = reqwest::Client::new().get(format!("{}/timeline", arguments.page_of));
    let answer = request.bearer_auth(token).send().await?.error_for_status()?;
    Ok(answer.bytes().await?)
}

fn json(body: Bytes) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], body).into_response()
}

async fn append(State(journal): State<Journal>, body: Bytes) -> Response {
    match journal.append(body.clone()).await {
        Ok(()) => (StatusCode::CREATED, json(body)).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Bytes to append, and where to say that they are on disk.
type Append = (Bytes, oneshot::Sender<()>);

#[derive(Clone)]
struct Journal {
    appends: mpsc::Sender<Append>,
}

impl Journal {
    fn open(path: &PathBuf) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (appends, waiting) = mpsc::channel(WAITING_MAX);
        std::thread::Builder::new().name("journal".into()).spawn(|| write(file, waiting))?;
        Ok(Self { appends })
    }

    async fn append(&self, bytes: Bytes) -> Result<()> {
        let (synced, on_disk) = oneshot::channel();
        self.appends.send((bytes, synced)).await?;
        Ok(on_disk.await?)
    }
}

/// Takes what waits, writes it, syncs once, answers all. Ends at the first error, and with it the
/// journal: nothing is said to be on disk that is not.
fn write(mut file: File, mut waiting: mpsc::Receiver<Append>) -> io::Result<()> {
    let (mut bytes, mut batch) = (Vec::new(), Vec::new());
    while let Some(first) = waiting.blocking_recv() {
        let mut next = Some(first);
        while let Some((body, synced)) = next {
            bytes.extend_from_slice(&body);
            batch.push(synced);
            next = if batch.len() < BATCH_MAX { waiting.try_recv().ok() } else { None };
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        bytes.clear();
        for synced in batch.drain(..) {
            // Whoever has gone away needs no answer.
            let _ = synced.send(());
        }
    }
    Ok(())
}
