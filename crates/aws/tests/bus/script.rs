//! EventBridge and SQS whose answers a test gives: each call is answered by a closure, over real
//! HTTP, so that the whole client is in between.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws::bus::{AwsBus, Config};
use aws::config::timeouts;
use kernel::bus::{QueuePolicy, QueueSpec};
use kernel::clock::SystemClock;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::bed::sdk;

/// What a call is answered with.
pub(crate) enum Answer {
    /// A status and a JSON body.
    Json(u16, Value),
    /// Nothing, ever.
    Silence,
}

/// An answer as it is wished for.
pub(crate) fn good(body: Value) -> Answer {
    Answer::Json(200, body)
}

/// A refusal in the services' form.
pub(crate) fn refusal(code: &str) -> Answer {
    Answer::Json(400, json!({"__type": code, "message": "so says the test"}))
}

/// One call: its operation and its input.
pub(crate) type Call = (String, Value);

/// Answers an operation's call, given how many calls of it went before.
type Script = dyn Fn(&str, usize, &Value) -> Answer + Send + Sync;

/// The services; they end with the test's runtime.
pub(crate) struct Services {
    pub(crate) url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    count: watch::Receiver<usize>,
}

impl Services {
    pub(crate) async fn new(
        script: impl Fn(&str, usize, &Value) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (told, count) = watch::channel(0);
        let (script, noted): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&calls));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, noted) = (Arc::clone(&script), Arc::clone(&noted));
                let told = told.clone();
                tokio::spawn(async move { serve(stream, &*script, &noted, &told).await });
            }
        });
        Self { url, calls, count }
    }

    /// The inputs of an operation's calls so far.
    pub(crate) fn calls(&self, operation: &str) -> Vec<Value> {
        let calls = self.calls.lock().unwrap();
        let calls = calls.iter().filter(|(name, _)| name == operation);
        calls.map(|(_, input)| input.clone()).collect()
    }

    /// Waits until an operation has been called `count` times.
    pub(crate) async fn called(&self, operation: &str, count: usize) {
        let mut changes = self.count.clone();
        while self.calls(operation).len() < count {
            changes.changed().await.unwrap();
        }
    }

    /// A bus that talks to them.
    pub(crate) fn bus(&self, policy: QueuePolicy) -> Arc<AwsBus> {
        bus_at(&self.url, policy)
    }
}

/// A bus that talks to whoever listens at `url`.
pub(crate) fn bus_at(url: &str, policy: QueuePolicy) -> Arc<AwsBus> {
    let config = Config {
        env: "script".to_owned(),
        services_url: Some(url.to_owned()),
        policy,
        poll: Duration::from_secs(20),
        // Its receives are never answered in the end.
        stop_grace: Duration::from_millis(500),
        ..Config::default()
    };
    let queues = [QueueSpec { name: "q", kinds: kernel::EventKind::ALL }];
    // The bed's patience is not what is tested here.
    let sdk = sdk().into_builder().timeout_config(timeouts()).build();
    AwsBus::new(&sdk, config, Arc::new(SystemClock), &queues)
}

async fn serve(
    stream: TcpStream,
    script: &Script,
    calls: &Mutex<Vec<Call>>,
    told: &watch::Sender<usize>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut operation, mut len) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            let Some((name, value)) = line.trim().split_once(": ") else { continue };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => len = value.parse().unwrap(),
                "x-amz-target" => operation = value.rsplit('.').next().unwrap().to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; len];
        stream.read_exact(&mut body).await.ok()?;
        let input: Value = serde_json::from_slice(&body).unwrap();
        let before = {
            let mut calls = calls.lock().unwrap();
            calls.push((operation.clone(), input.clone()));
            calls.iter().filter(|(name, _)| *name == operation).count() - 1
        };
        told.send_modify(|count| *count += 1);
        let answer = match operation.as_str() {
            // A queue's address is its name.
            "GetQueueUrl" => good(json!({"QueueUrl": input["QueueName"]})),
            _ => script(&operation, before, &input),
        };
        let Answer::Json(status, body) = answer else { std::future::pending().await };
        let (body, kind) = (body.to_string(), "application/x-amz-json-1.0");
        let len = body.len();
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).await.ok()?;
    }
}
