//! Lambda's Runtime API on one machine, and a bootstrap that runs under it.
//!
//! A bootstrap is a child process. It asks for the next event, is given one when there is one, and
//! posts its answer, as AWS documents it (`2018-06-01`).

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path as File;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use kernel::Clock;
use kernel::clock::SystemClock;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex as Turn, oneshot};

/// What an invocation came to: the answer, or the failure that the function told of.
pub(crate) type Outcome = Result<Value, Value>;

/// Longer than any event may take here.
const PATIENCE: Duration = Duration::from_mins(1);

/// The trace that every event here is part of.
pub(crate) const TRACE: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";

/// An event that waits for the bootstrap.
struct Waiting {
    event: Bytes,
    time: Duration,
    answer: oneshot::Sender<Outcome>,
}

/// One bootstrap's Runtime API.
struct RuntimeApi {
    waiting: Turn<UnboundedReceiver<Waiting>>,
    answers: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    given: AtomicU64,
}

impl RuntimeApi {
    /// Listens; where, and where to leave events.
    async fn start() -> (String, UnboundedSender<Waiting>) {
        let (sender, waiting) = unbounded_channel();
        let api = Arc::new(Self {
            waiting: Turn::new(waiting),
            answers: Mutex::default(),
            given: AtomicU64::new(0),
        });
        let invocation = |rest: &str| format!("/2018-06-01/runtime/invocation/{rest}");
        let routes = Router::new()
            .route(&invocation("next"), get(next))
            .route(&invocation("{id}/response"), post(answered))
            .route(&invocation("{id}/error"), post(failed))
            .with_state(api);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        // Else small answers wait for the other side's delayed acknowledgements, 40 ms each.
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (address, sender)
    }

    fn settle(&self, id: &str, outcome: Outcome) -> StatusCode {
        match self.answers.lock().unwrap().remove(id) {
            Some(answer) => {
                // Who asked may have gone.
                let _ = answer.send(outcome);
                StatusCode::ACCEPTED
            }
            None => StatusCode::BAD_REQUEST,
        }
    }
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> impl IntoResponse {
    let Some(Waiting { event, time, answer }) = api.waiting.lock().await.recv().await else {
        // Nobody will give it another: it is about to be ended.
        return std::future::pending().await;
    };
    let id = format!("00000000-0000-4000-8000-{:012}", api.given.fetch_add(1, Ordering::SeqCst));
    api.answers.lock().unwrap().insert(id.clone(), answer);
    let deadline = SystemClock.now() + time;
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.millis().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:test".to_owned(),
        ),
        ("lambda-runtime-trace-id", TRACE.to_owned()),
    ];
    (headers, event)
}

async fn answered(
    State(api): State<Arc<RuntimeApi>>,
    Path(id): Path<String>,
    body: Bytes,
) -> StatusCode {
    api.settle(&id, Ok(serde_json::from_slice(&body).unwrap()))
}

async fn failed(
    State(api): State<Arc<RuntimeApi>>,
    Path(id): Path<String>,
    body: Bytes,
) -> StatusCode {
    api.settle(&id, Err(serde_json::from_slice(&body).unwrap()))
}

/// A bootstrap that runs.
pub(crate) struct Function {
    pub(crate) child: Child,
    events: UnboundedSender<Waiting>,
    /// Held by whoever reads it from the process, too, until that ends.
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

impl Function {
    /// Starts `program` with these variables and what Lambda itself sets, and no others.
    pub(crate) async fn start(program: &File, variables: &[(String, String)]) -> Self {
        let (address, events) = RuntimeApi::start().await;
        let mut child = Command::new(program)
            .env_clear()
            .envs(lambdas_own(&address))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // At the end of a test it finds its Runtime API gone, and says so.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self { child, events, log }
    }

    /// Gives it an event.
    pub(crate) async fn invoke(&self, event: &Value) -> Outcome {
        match tokio::time::timeout(PATIENCE, self.give(event, PATIENCE)).await {
            Ok(Ok(outcome)) => outcome,
            other => panic!("no answer: {other:?}\n{}", self.log().join("\n")),
        }
    }

    /// Gives it an event, and so much time; where the outcome will be.
    pub(crate) fn give(&self, event: &Value, time: Duration) -> oneshot::Receiver<Outcome> {
        let (answer, answered) = oneshot::channel();
        let event = Bytes::from(event.to_string());
        self.events.send(Waiting { event, time, answer }).unwrap();
        answered
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What Lambda sets, and the credentials of a role.
pub(crate) fn lambdas_own(runtime_api: &str) -> Vec<(&'static str, String)> {
    let set = [
        ("AWS_LAMBDA_RUNTIME_API", runtime_api),
        ("AWS_LAMBDA_FUNCTION_NAME", "test"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    set.map(|(name, value)| (name, value.to_owned())).to_vec()
}
