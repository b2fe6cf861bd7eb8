//! Copies of an embedded server in a bucket of what stands in for S3: what `tests/e2e/bucket.rs`
//! asks of a bucket of its own, asked of somebody else's.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::bed::{aws_environment, known};
use crate::program::{Running, client, program};

struct Place {
    dir: tempfile::TempDir,
    endpoint: String,
    address: String,
}

impl Place {
    /// A bucket that nobody else has.
    async fn new() -> Self {
        let (endpoint, bucket) = (known("services"), format!("copies-{:016x}", fastrand::u64(..)));
        let signature = "AWS4-HMAC-SHA256 \
            Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=no";
        let made = client().put(format!("{endpoint}/{bucket}")).header("authorization", signature);
        assert_eq!(made.send().await.unwrap().status(), 200);
        let address = format!("s3://{bucket}/of/ours");
        Self { dir: tempfile::tempdir().unwrap(), endpoint, address }
    }

    fn program(&self, args: &[&str]) -> Command {
        let mut command = program();
        aws_environment(&mut command);
        command.args(args).args(["--backup-dir", &self.address]);
        command.args(["--backup-endpoint", &self.endpoint]);
        command
    }

    async fn serve(&self, data: &Path) -> Running {
        let mut command = self.program(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(["--backup-interval", "200ms", "--data"]).arg(data);
        Running::spawn(command).await
    }
}

#[track_caller]
fn done(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn back_up(server: &Running) -> Command {
    let mut command = program();
    command.args(["backup", "--base", "--admin", &server.admin]);
    command
}

async fn post(server: &Running, token: &str, text: &str) {
    let asked = client().post(format!("{}/posts", server.url)).bearer_auth(token);
    let answer = asked.json(&json!({ "text": text })).send().await.unwrap();
    assert_eq!(answer.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_in_a_bucket_bring_back_a_killed_server_and_have_one_writer() {
    let place = Place::new().await;
    let (data, twin) = (place.dir.path().join("data"), place.dir.path().join("twin"));
    let mut server = place.serve(&data).await;
    let account = json!({"email": "ann@example.org", "password": "Correct-horse-1"});
    let asked = client().post(format!("{}/auth/register", server.url)).json(&account);
    let registered: Value = asked.send().await.unwrap().json().await.unwrap();
    let token = registered["accessToken"].as_str().unwrap();
    post(&server, token, "before").await;
    done(back_up(&server));
    server.kill();
    done({
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(&data).arg(&twin);
        copy
    });
    // After a kill it goes on, and removes what it replaces.
    let mut server = place.serve(&data).await;
    post(&server, token, "after a kill").await;
    done(back_up(&server));
    server.kill();

    let mut other = place.serve(&twin).await;
    let refused = back_up(&other).output().unwrap();
    let line = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && line.contains("is in use by another process"), "{line}");
    other.kill();

    assert!(done(place.program(&["backups", "--check"])).contains("whole"));
    let restored = place.dir.path().join("restored");
    let at = ["--data", restored.to_str().unwrap()];
    done(place.program(&[&["restore"], &at[..]].concat()));
    let mut verify = program();
    verify.arg("verify").args(at);
    assert!(done(verify).contains("Every rule holds"));
    let mut counted = program();
    counted.args(["stats", "--json"]).args(at);
    let counted: Value = serde_json::from_str(&done(counted)).unwrap();
    assert_eq!((&counted["accounts"], &counted["posts"]), (&json!(1), &json!(2)));
}
