//! What a world of processes stands on: an environment of its own on the test bed, and a Redis of
//! its own, which can be killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::program::program;

/// Where the test bed is, and what was made on it.
pub(crate) struct Bed {
    pub(crate) dynamodb_url: String,
    pub(crate) aws_url: String,
    pub(crate) env_name: String,
    pub(crate) pool_id: String,
    pub(crate) client_id: String,
    /// For how long a received message is hidden.
    pub(crate) visibility: String,
}

/// Where a part of the test bed is.
pub(crate) fn known(part: &str) -> String {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/testbed.json");
    let path = std::env::var_os("MINI_SNS_TESTBED").map_or_else(usual, Into::into);
    let text = std::fs::read(&path)
        .unwrap_or_else(|_| panic!("start the test bed: cargo xtask testbed up ({path:?})"));
    let known: Value = serde_json::from_slice(&text).unwrap();
    known[part].as_str().unwrap().to_owned()
}

impl Bed {
    /// Makes tables, bus, queues and a user pool in an environment that nobody else has.
    pub(crate) fn provision(visibility: &str) -> Self {
        let (dynamodb_url, aws_url) = (known("dynoxide"), known("services"));
        let env_name = format!("t{:016x}", fastrand::u64(..));
        let mut provision = program();
        aws_environment(&mut provision);
        provision.args(["provision", "--env-name", &env_name, "--queue-visibility", visibility]);
        provision.args(["--dynamodb-url", &dynamodb_url, "--aws-url", &aws_url]);
        let Output { status, stdout, stderr } = provision.output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        let told = String::from_utf8(stdout).unwrap();
        let told = |key: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            line.unwrap_or_else(|| panic!("{key} is told: {told}")).trim_matches('"').to_owned()
        };
        let (pool_id, client_id) = (told("cognito_pool_id"), told("cognito_client_id"));
        let visibility = visibility.to_owned();
        Self { dynamodb_url, aws_url, env_name, pool_id, client_id, visibility }
    }

    pub(crate) fn keys_url(&self) -> String {
        format!("{}/{}/.well-known/jwks.json", self.aws_url, self.pool_id)
    }

    /// On AWS the pool's client decides how long access tokens are good, and not the processes'
    /// option. AWS takes five minutes or more; the emulator also takes what a test can wait for.
    pub(crate) async fn shorten_access_tokens(&self, secs: u64) {
        let body = json!({
            "UserPoolId": self.pool_id,
            "ClientId": self.client_id,
            "AccessTokenValidity": secs,
            "RefreshTokenValidity": 30,
            "TokenValidityUnits": {"AccessToken": "seconds", "RefreshToken": "days"},
            "ExplicitAuthFlows": ["ALLOW_ADMIN_USER_PASSWORD_AUTH"],
        });
        let scope = "test/20260101/us-east-1/cognito-idp/aws4_request";
        let signature =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=unchecked");
        let request = reqwest::Client::new()
            .post(&self.aws_url)
            .header("x-amz-target", "AWSCognitoIdentityProviderService.UpdateUserPoolClient")
            .header("content-type", "application/x-amz-json-1.1")
            .header("authorization", signature)
            .body(body.to_string());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }
}

/// Any credentials do, and the machine's own are never used.
pub(crate) fn aws_environment(command: &mut Command) {
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command.env("AWS_REGION", "us-east-1").env("AWS_EC2_METADATA_DISABLED", "true");
}

/// A redis-server on a port of its own.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (child, port) = (0..10)
            .find_map(|_| {
                let port = free_port();
                Some((Self::run(dir.path(), port)?, port))
            })
            .expect("a port for redis-server");
        Self { child, port, dir }
    }

    fn run(dir: &Path, port: u16) -> Option<Child> {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
        command.arg(port.to_string()).current_dir(dir).stdout(Stdio::piped());
        let mut child =
            command.spawn().expect("redis-server is there: cargo xtask testbed install");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        if !lines.any(|line| line.contains("Ready to accept connections")) {
            child.wait().unwrap();
            return None;
        }
        // It goes on to log, and must not stop for want of a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Some(child)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Has it drop all that it holds.
    pub(crate) fn forget_all(&self) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"FLUSHALL\r\n").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+OK\r\n");
    }

    /// Starts it again on its port, with nothing of what it held.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = Self::run(self.dir.path(), self.port).expect("its port is still free");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody listens at: for programs that cannot say which one they chose.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
