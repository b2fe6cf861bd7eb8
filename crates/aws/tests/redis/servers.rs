//! Redis servers of a test's own, to be killed, stopped and started again: Debian's binary, on
//! ports of loopback, with its files in a temporary folder.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws::redis::{Redis, Settings};
use tempfile::TempDir;

/// One server.
pub(crate) struct Server {
    dir: TempDir,
    options: Vec<String>,
    pub(crate) port: u16,
    child: Option<Child>,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(|_, _| Vec::new())
    }

    /// A server with more options, made from its port and its folder.
    pub(crate) fn with(options: impl Fn(u16, &std::path::Path) -> Vec<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let options = options(port, dir.path());
        let mut server = Self { dir, options, port, child: None };
        server.restart();
        server
    }

    /// Starts it on its port, with nothing of what it held, and waits until it is ready.
    pub(crate) fn restart(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        if !self.options.iter().any(|option| option == "--port") {
            command.args(["--port", &self.port.to_string()]);
        }
        command.args(&self.options).current_dir(self.dir.path()).stdout(Stdio::piped());
        let mut child =
            command.spawn().expect("redis-server is not there: cargo xtask testbed up installs it");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.any(|line| line.unwrap().contains("Ready to accept connections"));
        assert!(ready, "redis-server did not start on port {}", self.port);
        // It goes on to log, and must not stop for want of a reader.
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Lets it hold its connections and answer nothing, or go on.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A cluster of three.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let nodes: Vec<_> = (0..3)
            .map(|_| {
                Server::with(|_, _| {
                    let options = [
                        "--cluster-enabled",
                        "yes",
                        "--cluster-node-timeout",
                        "2000",
                        "--cluster-port",
                        &free_port().to_string(),
                    ];
                    options.map(str::to_owned).to_vec()
                })
            })
            .collect();
        let slots = [(0, 5460), (5461, 10922), (10923, 16383)];
        for (node, (first, last)) in nodes.iter().zip(slots) {
            let mut link = link(node).await;
            let mut add = redis::cmd("CLUSTER");
            add.arg("ADDSLOTSRANGE").arg(first).arg(last);
            add.exec_async(&mut link).await.unwrap();
            let first = &nodes[0];
            let mut meet = redis::cmd("CLUSTER");
            meet.arg("MEET").arg("127.0.0.1").arg(first.port).arg(&first.options[5]);
            meet.exec_async(&mut link).await.unwrap();
        }
        let cluster = Self { nodes };
        cluster.settled().await;
        cluster
    }

    /// Waits until every node sees the whole cluster.
    pub(crate) async fn settled(&self) {
        for node in &self.nodes {
            let mut link = link(node).await;
            loop {
                let info: String =
                    redis::cmd("CLUSTER").arg("INFO").query_async(&mut link).await.unwrap();
                if info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }
}

async fn link(node: &Server) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(node.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Settings with a prefix that nobody else has. Machines that test are slow at times.
pub(crate) fn settings(urls: Vec<String>, cluster: bool) -> Settings {
    static PREFIXES: AtomicU64 = AtomicU64::new(0);
    Settings {
        urls,
        cluster,
        prefix: format!("test-{}", PREFIXES.fetch_add(1, Ordering::SeqCst)),
        connect_timeout: Duration::from_secs(2),
        answer_timeout: Duration::from_secs(2),
        rest: Duration::from_millis(50),
        ..Settings::default()
    }
}

pub(crate) fn open(settings: &Settings) -> Redis {
    Redis::open(settings).unwrap()
}
