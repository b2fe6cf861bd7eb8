//! An operator keeps the copies in a bucket, and has nothing else left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kernel::Time;
use serde_json::Value;

use crate::backup::{done, refused, write_until_refused};
use crate::person::Person;
use crate::s3::{S3, SECRET};
use crate::server::{Server, eventually, verify};

/// A machine with its bucket elsewhere.
struct Place {
    dir: tempfile::TempDir,
    s3: Arc<S3>,
}

impl Place {
    async fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), s3: S3::start().await }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn restored(&self) -> PathBuf {
        self.dir.path().join("restored")
    }

    fn copies(&self) -> [&str; 4] {
        ["--backup-dir", "s3://copies/of/ours", "--backup-endpoint", &self.s3.url]
    }

    async fn serve(&self, data: &Path, options: &[&str]) -> Server {
        Server::start_by(S3::program(), data, &[&self.copies()[..], options].concat()).await
    }

    fn run(&self, args: &[&str]) -> Output {
        S3::program().args(args).args(self.copies()).output().unwrap()
    }

    fn restore(&self, args: &[&str]) -> Output {
        let to = self.restored();
        self.run(&[&["restore", "--data", to.to_str().unwrap()], args].concat())
    }

    fn last(&self) -> Option<Time> {
        let listed: Value = serde_json::from_str(&done(&self.run(&["backups", "--json"]))).unwrap();
        let copies = listed["copies"].as_array().unwrap();
        copies.iter().filter_map(|copy| serde_json::from_value(copy["until"].clone()).ok()).max()
    }
}

fn back_up(server: &Server) -> Output {
    S3::program().args(["backup", "--json", "--admin", &server.admin]).output().unwrap()
}

async fn metric(server: &Server, name: &str) -> f64 {
    let text = server.http.get(format!("{}/metrics", server.admin)).send().await.unwrap();
    let text = text.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_machine_comes_back_from_its_bucket_alone() {
    let place = Place::new().await;
    let free = ["--user-rate-per-sec", "100000", "--user-rate-burst", "100000"];
    let options = ["--backup-interval", "100ms", "--posts-per-minute", "100000"];
    let options = [&free[..], &options].concat();
    let mut server = place.serve(&place.data(), &options).await;
    let (author, reader) = (Person::register(&server).await, Person::register(&server).await);
    reader.follow(&author).await;
    done(&back_up(&server));
    let load = tokio::spawn(write_until_refused(author.clone()));
    let before = place.last().unwrap();
    eventually("what is written goes to the bucket", async || {
        (place.last().unwrap() > before + Duration::from_secs(1)).then_some(())
    })
    .await;
    server.kill();
    let owed = load.await.unwrap();
    fs::remove_dir_all(place.data()).unwrap();

    let until = place.last().unwrap();
    assert!(done(&place.run(&["backups", "--check"])).contains("whole"));
    assert!(done(&place.restore(&["--dry-run"])).contains("would be"));
    assert!(!place.restored().exists(), "nothing is written");
    done(&place.restore(&[]));
    verify(&place.restored());
    assert!(!place.restored().join("RESTORE").exists(), "what was brought here is gone");
    let server = place.serve(&place.restored(), &options).await;
    server.settled().await;
    let seen = reader.at(&server).timeline().await;
    let written: Vec<_> = owed.iter().filter(|(_, answered)| **answered <= until).collect();
    assert!(!written.is_empty());
    let lost: Vec<_> = written.iter().filter(|(post, _)| !seen.contains(post)).collect();
    assert!(lost.is_empty(), "answered by {until} and lost: {lost:?}");
    server.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_away_stops_nobody_and_is_told_of() {
    let place = Place::new().await;
    let mut server = place.serve(&place.data(), &["--backup-interval", "100ms"]).await;
    let author = Person::register(&server).await;
    let first = author.post("before").await;
    done(&back_up(&server));
    place.s3.away.store(true, Ordering::SeqCst);
    let second = author.post("while it is away").await;
    let line = refused(&back_up(&server), 1);
    assert!(line.contains("s3://copies/of/ours/") && line.contains("SlowDown"), "{line}");
    assert!(metric(&server, "backup_failures_total").await >= 1.0);
    let reached = metric(&server, "backup_last_success_timestamp_seconds").await;
    assert!(reached > 0.0);
    // Killed meanwhile, it starts without it, and sends what it could not send.
    server.kill();
    server.start_again(S3::program()).await;
    let author = author.at(&server);
    let third = author.post("after a kill").await;
    place.s3.away.store(false, Ordering::SeqCst);
    done(&back_up(&server));
    assert!(metric(&server, "backup_last_success_timestamp_seconds").await > reached);
    server.verified().await;
    done(&place.restore(&[]));
    verify(&place.restored());
    let server = place.serve(&place.restored(), &[]).await;
    for post in [first, second, third] {
        author.at(&server).get(&format!("/posts/{post}")).await.expect(200);
    }
    server.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_used_is_refused_in_one_line() {
    let place = Place::new().await;
    let serve = |change: &dyn Fn(&mut std::process::Command)| {
        let mut command = S3::program();
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--log-filter", "warn", "--data"]).arg(place.data());
        command.args(["--backup-endpoint", &place.s3.url]);
        change(&mut command);
        let line = refused(&command.output().unwrap(), 2);
        assert!(line.starts_with("mini-sns: backup_dir: s3://"), "{line}");
        assert!(!line.contains(SECRET), "{line}");
        line
    };
    let line = serve(&|command| {
        command.args(["--backup-dir", "s3://others/of/ours"]);
    });
    assert!(line.contains("NoSuchBucket"), "{line}");
    let line = serve(&|command| {
        command.args(["--backup-dir", "s3://copies"]).env("AWS_ACCESS_KEY_ID", "AKIAOTHER");
    });
    assert!(line.contains("InvalidAccessKeyId"), "{line}");
    let line = serve(&|command| {
        command.args(["--backup-dir", "s3://copies"]).env_remove("AWS_ACCESS_KEY_ID");
        command.env_remove("AWS_SECRET_ACCESS_KEY");
        // Nobody who has roles to give is there.
        command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &place.s3.url);
    });
    assert!(line.contains("AWS_ACCESS_KEY_ID is not set"), "{line}");
    assert!(refused(&place.restore(&[]), 2).contains("there is no backup in s3://copies/of/ours"));

    let server = place.serve(&place.data(), &[]).await;
    let author = Person::register(&server).await;
    let post = author.post("kept").await;
    done(&back_up(&server));
    // The old directory is not touched, not even to look.
    let into_the_old = place.run(&["restore", "--data", place.data().to_str().unwrap()]);
    assert!(refused(&into_the_old, 2).contains("is not empty"));
    assert!(!place.data().join("RESTORE").exists());
    server.verified().await;
    let names = place.s3.names();
    let log = names.iter().rfind(|name| name.contains("/log/")).unwrap();
    let whole = place.s3.object(log);
    let mut damaged = whole.to_vec();
    damaged[60] ^= 1;
    place.s3.set(log, damaged);
    for tried in [&["--dry-run"][..], &[]] {
        let line = refused(&place.restore(tried), 2);
        assert!(line.contains(&format!("s3://copies/{log} is damaged")), "{line}");
    }
    assert!(refused(&place.run(&["backups", "--check"]), 2).contains("is damaged"));
    place.s3.set(log, whole);
    done(&place.restore(&[]));
    verify(&place.restored());
    let server = Server::start_in(&place.restored(), &[]).await;
    author.at(&server).get(&format!("/posts/{post}")).await.expect(200);
    server.verified().await;
}
