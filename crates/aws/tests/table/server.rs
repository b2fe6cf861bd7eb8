//! A DynamoDB with a bad day: answers what a script says, or passes requests on to the test bed.

use std::sync::{Arc, Mutex};

use conformance::testbed::Testbed;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Its operation, such as `PutItem`.
    pub(crate) operation: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// What to do with a request.
pub(crate) enum Reply {
    /// Pass it on and its answer back.
    Pass,
    /// Pass it on, and lose the answer.
    Lose,
    /// Pass it on once told, whether anybody still waits for the answer or not.
    Late(Arc<Notify>),
    /// This answer.
    Answer(u16, String),
    /// Never answer.
    Hang,
}

impl Reply {
    pub(crate) fn ok(body: &Value) -> Self {
        Self::Answer(200, body.to_string())
    }

    /// An error as DynamoDB words it.
    pub(crate) fn error(code: &str) -> Self {
        Self::error_with(code, &Value::Null)
    }

    pub(crate) fn internal() -> Self {
        Self::Answer(500, error_body("InternalServerError", &Value::Null))
    }

    /// A transaction cancelled for these reasons.
    pub(crate) fn cancelled(reasons: &[&str]) -> Self {
        let reasons: Vec<_> = reasons.iter().map(|code| json!({"Code": code})).collect();
        Self::error_with("TransactionCanceledException", &json!(reasons))
    }

    fn error_with(code: &str, reasons: &Value) -> Self {
        Self::Answer(400, error_body(code, reasons))
    }
}

fn error_body(code: &str, reasons: &Value) -> String {
    let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
    let mut body = json!({"__type": kind, "message": "as the script says"});
    if !reasons.is_null() {
        body["CancellationReasons"] = reasons.clone();
    }
    body.to_string()
}

type Script = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// The server; it ends when dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Asks `script` about each request, with the number of those before.
    pub(crate) async fn start(
        script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the script's server works");
        let url = format!("http://{}", listener.local_addr().expect("the script's server works"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, told): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, Arc::clone(&script), Arc::clone(&told)));
            }
        });
        Self { url, seen, task }
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("the script's server works").clone()
    }

    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().expect("the script's server works").len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request a connection.
async fn serve(mut stream: TcpStream, script: Arc<Script>, told: Arc<Mutex<Vec<Request>>>) {
    let Some((request, raw)) = read(&mut stream).await else { return };
    let before = {
        let mut told = told.lock().expect("the script's server works");
        told.push(request.clone());
        told.len() - 1
    };
    let (status, body) = match script(&request, before) {
        Reply::Answer(status, body) => (status, body),
        Reply::Pass => pass(&request, raw).await,
        Reply::Lose => {
            pass(&request, raw).await;
            return;
        }
        Reply::Late(told) => {
            told.notified().await;
            pass(&request, raw).await
        }
        Reply::Hang => std::future::pending().await,
    };
    let head = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/x-amz-json-1.0\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // The client may be gone already.
    let _sent = stream.write_all((head + &body).as_bytes()).await;
}

async fn read(stream: &mut TcpStream) -> Option<(Request, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";
    let mut bytes = Vec::new();
    let head_len = loop {
        if let Some(at) = bytes.windows(END.len()).position(|window| window == END) {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_len].to_vec()).expect("the script's server works");
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers: Vec<_> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let mut request = Request { operation: String::new(), headers, body: Value::Null };
    let body_len: usize =
        request.header("content-length").parse().expect("the script's server works");
    let mut body = bytes.split_off(head_len + END.len());
    while body.len() < body_len {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    request.operation =
        request.header("x-amz-target").rsplit('.').next().unwrap_or_default().to_owned();
    request.body = serde_json::from_slice(&body).expect("the script's server works");
    Some((request, body))
}

async fn pass(request: &Request, body: Vec<u8>) -> (u16, String) {
    let mut passed = reqwest::Client::new().post(Testbed::up().dynamodb).body(body);
    for name in ["x-amz-target", "content-type", "authorization", "x-amz-date"] {
        passed = passed.header(name, request.header(name));
    }
    let answer = passed.send().await.expect("the script's server works");
    (answer.status().as_u16(), answer.text().await.expect("the script's server works"))
}
