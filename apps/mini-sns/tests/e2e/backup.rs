//! An operator loses the disk and goes back to a moment: with copies, `mini-sns restore` and
//! nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use kernel::clock::SystemClock;
use kernel::{Clock, Time};
use reqwest::Method;
use serde_json::{Value, json};

use crate::person::{PASSWORD, Person};
use crate::server::{Server, eventually, program, verify};

/// A place for data, its copies and what is restored from them.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn copies(&self) -> PathBuf {
        self.0.path().join("copies")
    }

    fn restored(&self) -> PathBuf {
        self.0.path().join("restored")
    }

    async fn serve(&self, data: &Path, options: &[&str]) -> Server {
        let copies = self.copies();
        let kept = ["--backup-dir", copies.to_str().unwrap()];
        Server::start_in(data, &[&kept[..], options].concat()).await
    }

    fn restore(&self, args: &[&str]) -> Output {
        let mut command = program();
        command.arg("restore").args(args).arg("--backup-dir").arg(self.copies());
        command.arg("--data").arg(self.restored()).output().unwrap()
    }

    fn copies_listed(&self, args: &[&str]) -> Output {
        let mut command = program();
        command.arg("backups").args(args).arg("--backup-dir").arg(self.copies()).output().unwrap()
    }

    fn listed(&self) -> Vec<Value> {
        let listed: Value = serde_json::from_str(&done(&self.copies_listed(&["--json"]))).unwrap();
        listed["copies"].as_array().unwrap().clone()
    }

    /// All files of the copies.
    fn files(&self) -> Vec<PathBuf> {
        fn below(dir: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { below(&path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        below(&self.copies(), &mut found);
        found
    }
}

#[track_caller]
pub(crate) fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The line of a refusal with this exit code.
#[track_caller]
pub(crate) fn refused(output: &Output, code: i32) -> String {
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), line.trim_end().lines().count()), (Some(code), 1), "{line}");
    line
}

/// Copies what is there now, and gives the last moment that can be had.
fn back_up(server: &Server, args: &[&str]) -> Time {
    let mut command = program();
    command.arg("backup").args(args).args(["--json", "--admin", &server.admin]);
    let answer: Value = serde_json::from_str(&done(&command.output().unwrap())).unwrap();
    serde_json::from_value(answer["until"].clone()).unwrap()
}

async fn sign_in(server: &Server, person: &Person) -> u16 {
    let body = json!({"email": person.email, "password": PASSWORD});
    let asked = server.http.post(format!("{}/auth/login", server.url)).json(&body);
    asked.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_disk_comes_back_as_it_was_between_two_posts() {
    let place = Place::new();
    let mut server = place.serve(&place.data(), &[]).await;
    let (author, reader) = (Person::register(&server).await, Person::register(&server).await);
    reader.follow(&author).await;
    let first = author.post("the first").await;
    reader.sees(std::slice::from_ref(&first)).await;
    let between = back_up(&server, &[]);
    let second = author.post("the second").await;
    reader.sees(&[first.clone(), second.clone()]).await;
    back_up(&server, &["--base"]);
    server.kill();
    fs::remove_dir_all(place.data()).unwrap();

    let listed = place.listed();
    assert_eq!(listed.len(), 2, "the first base, and that which was asked for: {listed:?}");
    let table = done(&place.copies_listed(&["--check"]));
    assert!(table.contains("whole") && table.contains(listed[0]["data"].as_str().unwrap()));
    let would = done(&place.restore(&["--at", &between.to_string(), "--dry-run"]));
    for word in [&between.to_string(), listed[0]["data"].as_str().unwrap(), "would be"] {
        assert!(would.contains(word), "{word}: {would}");
    }
    assert!(!place.restored().exists(), "nothing is written");
    let told = done(&place.restore(&["--at", &between.to_string()]));
    assert!(told.contains(&between.to_string()) && told.contains("mini-sns verify"), "{told}");
    verify(&place.restored());

    let mut server = place.serve(&place.restored(), &[]).await;
    let (author, reader) = (author.at(&server), reader.at(&server));
    reader.sees(std::slice::from_ref(&first)).await;
    author.get(&format!("/posts/{second}")).await.problem(404, "not_found");
    assert_eq!(sign_in(&server, &reader).await, 200);
    let third = author.post("life goes on").await;
    reader.sees(&[first.clone(), third.clone()]).await;
    // What goes on is other data than what was lost, and has copies of its own beside it.
    back_up(&server, &[]);
    let mut ids: Vec<String> =
        place.listed().iter().map(|copy| copy["data"].as_str().unwrap().to_owned()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 2, "{ids:?}");
    server.settled().await;
    server.kill();
    fs::remove_dir_all(place.restored()).unwrap();
    let line = refused(&place.restore(&[]), 2);
    assert!(ids.iter().all(|id| line.contains(id.as_str())), "{line}");
    let newest = ids.iter().max().unwrap();
    done(&place.restore(&["--of", newest]));
    verify(&place.restored());
    let server = place.serve(&place.restored(), &[]).await;
    reader.at(&server).sees(&[first, third]).await;
    server.verified().await;
}

/// Posts until the server is gone; gives each post with the moment of its answer.
pub(crate) async fn write_until_refused(author: Person) -> BTreeMap<String, Time> {
    let mut posts = BTreeMap::new();
    for number in 0.. {
        let text = json!({"text": format!("number {number}")});
        let Ok(answer) = author.request(Method::POST, "/posts").json(&text).send().await else {
            break;
        };
        let answered = SystemClock.now();
        let Ok(post) = answer.json::<Value>().await else { break };
        posts.insert(post["postId"].as_str().unwrap().to_owned(), answered);
    }
    posts
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_the_copies_hold_all_up_to_their_last() {
    let place = Place::new();
    let free = ["--user-rate-per-sec", "100000", "--user-rate-burst", "100000"];
    let options = ["--backup-interval", "100ms", "--posts-per-minute", "100000"];
    let options = [&free[..], &options].concat();
    let mut server = place.serve(&place.data(), &options).await;
    let mut author = Person::register(&server).await;
    let reader = Person::register(&server).await;
    reader.follow(&author).await;
    let mut owed = BTreeMap::new();
    for _ in 0..2 {
        eventually("there is a base", async || {
            place.listed().iter().any(|copy| copy["until"].is_string()).then_some(())
        })
        .await;
        let load = tokio::spawn(write_until_refused(author.clone()));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        server.kill();
        owed.extend(load.await.unwrap());
        server.restart().await;
        author = author.at(&server);
    }
    eventually("the killed run is followed by another", async || {
        (place.listed().len() >= 3).then_some(())
    })
    .await;
    let load = tokio::spawn(write_until_refused(author.clone()));
    tokio::time::sleep(Duration::from_millis(1000)).await;
    server.kill();
    owed.extend(load.await.unwrap());

    let until: Vec<Time> = place
        .listed()
        .iter()
        .map(|copy| serde_json::from_value(copy["until"].clone()).unwrap())
        .collect();
    for at in until {
        let _ = fs::remove_dir_all(place.restored());
        done(&place.restore(&["--at", &at.to_string()]));
        verify(&place.restored());
        let server = Server::start_in(&place.restored(), &options).await;
        let reader = reader.at(&server);
        let written: Vec<_> = owed.iter().filter(|(_, answered)| **answered <= at).collect();
        assert!(!written.is_empty());
        server.settled().await;
        let seen = reader.timeline().await;
        let lost: Vec<_> = written.iter().filter(|(post, _)| !seen.contains(post)).collect();
        assert!(lost.is_empty(), "answered by {at} and lost: {lost:?}");
        server.verified().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_is_refused_in_one_line() {
    let place = Place::new();
    assert!(refused(&place.restore(&[]), 2).contains("there is no backup"));
    let server = place.serve(&place.data(), &[]).await;
    let author = Person::register(&server).await;
    author.post("before").await;
    let until = back_up(&server, &[]);
    let later = (until + Duration::from_hours(1)).to_string();
    assert!(refused(&place.restore(&["--at", &later]), 2).contains("the last is"));
    refused(&place.restore(&["--at", "yesterday"]), 2);
    for tried in [&[][..], &["--dry-run"]] {
        let mut into_the_old = program();
        into_the_old.arg("restore").args(["--at", &until.to_string(), "--backup-dir"]);
        into_the_old.arg(place.copies()).arg("--data").arg(place.data()).args(tried);
        assert!(refused(&into_the_old.output().unwrap(), 2).contains("is not empty"));
    }
    server.verified().await;

    // A damaged byte is found while it restores; mended, it goes on, and until then nobody serves.
    let log = place.files().into_iter().filter(|path| path.parent().unwrap().ends_with("log"));
    let log = log.max().unwrap();
    let whole = fs::read(&log).unwrap();
    let mut damaged = whole.clone();
    damaged[100] ^= 1;
    fs::write(&log, damaged).unwrap();
    for tried in [&["--dry-run"][..], &[]] {
        assert!(!place.restored().exists(), "nothing is written");
        let line = refused(&place.restore(&[&["--at", &until.to_string()], tried].concat()), 2);
        assert!(line.contains("is damaged") && line.contains(log.to_str().unwrap()), "{line}");
    }
    let listed = place.copies_listed(&["--check"]);
    assert!(refused(&listed, 2).contains("is damaged"));
    let serve = || {
        program()
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(place.restored())
            .output()
            .unwrap()
    };
    assert!(refused(&serve(), 2).contains("a part of a restore"));
    fs::write(&log, whole).unwrap();
    done(&place.restore(&["--dry-run"]));
    assert!(refused(&serve(), 2).contains("a part of a restore"), "it is as far as it was");
    done(&place.restore(&[]));
    verify(&place.restored());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_goes_on() {
    let place = Place::new();
    let server = place.serve(&place.data(), &["--posts-per-minute", "100000"]).await;
    let author = Person::register(&server).await;
    for number in 0..100 {
        author.post(&format!("number {number}")).await;
    }
    server.settled().await;
    let at = back_up(&server, &["--base"]).to_string();
    author.post("after the base").await;
    let last = back_up(&server, &[]).to_string();
    server.verified().await;
    // Wherever in its work it ends, the next one ends it, or goes on from there.
    for (at, millis) in [&at, &last].into_iter().zip([20, 60]) {
        let _ = fs::remove_dir_all(place.restored());
        for round in 1.. {
            let mut restore = program();
            restore.args(["restore", "--at", at, "--backup-dir"]).arg(place.copies());
            restore.arg("--data").arg(place.restored()).stdout(Stdio::null());
            let mut restore = restore.spawn().unwrap();
            tokio::time::sleep(Duration::from_millis(millis * round)).await;
            if let Some(ended) = restore.try_wait().unwrap() {
                assert!(ended.success(), "round {round}: {ended}");
                break;
            }
            restore.kill().unwrap();
            restore.wait().unwrap();
            // It may have been killed with nothing left to do.
            let is_there = |name: &str| place.restored().join(name).exists();
            if is_there("MANIFEST") && !is_there("RESTORE") {
                break;
            }
        }
        verify(&place.restored());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_copied_too_and_one_without_copies_says_so() {
    let place = Place::new();
    let server = Server::start_in(&place.data(), &[]).await;
    let author = Person::register(&server).await;
    let post = author.post("kept").await;
    let asked = program().args(["backup", "--admin", &server.admin]).output().unwrap();
    assert!(refused(&asked, 1).contains("--backup-dir"));
    server.verified().await;
    let of_stopped = || {
        let mut command = program();
        command.arg("backup").arg("--data").arg(place.data());
        done(&command.arg("--backup-dir").arg(place.copies()).output().unwrap())
    };
    assert!(of_stopped().contains("can be restored"));
    of_stopped();
    assert_eq!(place.listed().len(), 1, "nothing changed, so nothing is copied anew");
    let mut server = place.serve(&place.data(), &[]).await;
    for _ in 0..2 {
        let author = author.at(&server);
        author.post("and on").await;
        server.settled().await;
        server.terminate();
        assert_eq!(server.exited().await.code(), Some(0));
        server.restart().await;
        back_up(&server, &[]);
    }
    assert_eq!(place.listed().len(), 1, "after a stop in good order the log goes on");
    server.verified().await;
    done(&place.restore(&[]));
    let server = Server::start_in(&place.restored(), &[]).await;
    author.at(&server).get(&format!("/posts/{post}")).await.expect(200);
    server.verified().await;
}
