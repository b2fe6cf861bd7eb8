//! With a key, nothing that people wrote or are called can be read from the disk or from copies;
//! and without it nothing is served.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

use conformance::disk::{bytes, holds};
use reqwest::Method;
use serde_json::{Value, json};

use crate::backup::{self, done};
use crate::person::Person;
use crate::server::{Server, eventually, program};

const HANDLE: &str = "zanzibar_turnip";
const NAME: &str = "Quixotic Rutabaga";
const TEXT: &str = "the xylophone plays at midnight";
/// In the file of signing keys, beside each of them.
const KEY_SET: &str = "Ed25519";

/// Data, copies, and the file that the operator keeps the key in.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.give(&["1"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes the operator's keys, each one digit over and over.
    fn give(&self, keys: &[&str]) {
        let lines: Vec<_> = keys.iter().map(|digit| digit.repeat(64)).collect();
        let file = self.path("key");
        fs::write(&file, lines.join("\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    async fn serve(&self, is_encrypted: bool, options: &[&str]) -> Server {
        let (key, copies) = (self.path("key"), self.path("copies"));
        let encrypted = ["--encryption-key-file", key.to_str().unwrap()];
        let kept = ["--backup-dir", copies.to_str().unwrap()];
        let encrypted = if is_encrypted { &encrypted[..] } else { &[] };
        Server::start_in(&self.path("data"), &[encrypted, &kept, options].concat()).await
    }

    /// Runs a command over a stopped server's data, with the key or without.
    fn run(&self, args: &[&str], data: &str, is_encrypted: bool) -> Output {
        let mut command = program();
        command.args(args).arg("--data").arg(self.path(data));
        if !["verify", "rotate-keys"].contains(&args[0]) {
            command.arg("--backup-dir").arg(self.path("copies"));
        }
        if is_encrypted {
            command.arg("--encryption-key-file").arg(self.path("key"));
        }
        command.output().unwrap()
    }

    /// The line of a server that does not start.
    fn refused(&self, options: &[&str], is_encrypted: bool) -> String {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        refused(&self.run(&[&serve[..], options].concat(), "data", is_encrypted))
    }
}

#[track_caller]
fn refused(output: &Output) -> String {
    let line = backup::refused(output, 2);
    assert!(!line.contains("1111") && !line.contains("2222"), "no key is told: {line}");
    line
}

/// Somebody is followed, writes, and an event of theirs ends in the dead letters.
async fn live(place: &Place, is_encrypted: bool) -> (Person, String) {
    // Hardly a fan-out ends within a millisecond, so before long an event is given up.
    let impatient = ["--queue-visibility", "1ms", "--queue-receives-max", "1"];
    let free = ["--posts-per-minute", "100000"];
    let mut server = place.serve(is_encrypted, &[&impatient[..], &free].concat()).await;
    let author = Person::register_as(&server, HANDLE).await;
    let named = author.request(Method::PATCH, "/users/me").json(&json!({"displayName": NAME}));
    assert_eq!(named.send().await.unwrap().status(), 200);
    Person::register(&server).await.follow(&author).await;
    let mut post = String::new();
    eventually("an event is given up", async || {
        post = author.post(TEXT).await;
        let asked = server.http.get(format!("{}/dlq?queue=timeline-fanout", server.admin));
        let letters: Value = asked.send().await.unwrap().json().await.unwrap();
        (!letters["items"].as_array().unwrap().is_empty()).then_some(())
    })
    .await;
    let found = author.get("/users/search?q=quixotic").await.expect(200);
    assert_eq!(found["items"][0]["userId"], json!(author.id));
    let copied = program().args(["backup", "--base", "--admin", &server.admin]).output().unwrap();
    done(&copied);
    server.terminate();
    assert_eq!(server.exited().await.code(), Some(0));
    (author, post)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_people_wrote_or_are_called_is_on_the_disk() {
    for is_encrypted in [false, true] {
        let place = Place::new();
        let (author, post) = live(&place, is_encrypted).await;
        let words = [HANDLE, NAME, "quixotic", TEXT, &author.email, KEY_SET, "PostCreated"];
        let looked_through = |dir: &str| {
            let found = bytes(&place.path(dir));
            for word in words {
                assert_eq!(holds(&found, word), !is_encrypted, "{word} in {dir}");
            }
            assert!(holds(&found, &post), "ids are readable, and so is how this looks");
        };
        looked_through("data");
        // Compressed, not every word is there as a whole; what was restored shows the rest.
        let copies = bytes(&place.path("copies"));
        assert_eq!(words.iter().any(|word| holds(&copies, word)), !is_encrypted);
        // What the dead letters kept from timelines is made up for.
        // The letter's post may lack in its timeline, and then does so until that is rebuilt.
        let tried = || place.run(&["verify", "--repair", "--dry-run"], "data", is_encrypted);
        let would = tried();
        let told = String::from_utf8_lossy(&would.stdout).into_owned();
        let expected = if would.status.success() { "Nothing" } else { "All that is derived" };
        assert!(told.starts_with(&format!("{expected} would be rebuilt")), "{told}");
        assert_eq!(
            (tried().status, tried().stdout),
            (would.status, would.stdout),
            "it is as it was"
        );
        let verified = place.run(&["verify", "--repair"], "data", is_encrypted);
        assert!(done(&verified).contains("Every rule holds"));
        done(&place.run(&["backup"], "data", is_encrypted));
        done(&place.run(&["restore"], "restored", is_encrypted));
        done(&place.run(&["verify"], "restored", is_encrypted));
        looked_through("restored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_key_there_is_one_line_and_nothing_changes() {
    let place = Place::new();
    let mut server = place.serve(true, &[]).await;
    Person::register_as(&server, HANDLE).await;
    server.settled().await;
    server.terminate();
    server.exited().await;
    let before = bytes(&place.path("data"));
    assert!(place.refused(&[], false).contains("is encrypted, and no key is given"));
    assert!(refused(&place.run(&["verify"], "data", false)).contains("no key is given"));
    assert!(refused(&place.run(&["restore"], "new", false)).contains("no key is given"));
    let tried = place.run(&["restore", "--dry-run"], "new", false);
    assert!(refused(&tried).contains("no key is given"));
    place.give(&["2"]);
    assert!(place.refused(&[], true).contains("is locked with key"));
    assert!(refused(&place.run(&["backup"], "data", true)).contains("is locked with key"));
    assert!(refused(&place.run(&["restore"], "new", true)).contains("is locked with key"));
    assert!(!place.path("new").exists(), "nothing was written");
    assert!(place.refused(&["--encryption-key-file", "/no/such/file"], false).contains("/no/such"));
    fs::write(place.path("key"), "hush").unwrap();
    let line = place.refused(&[], true);
    assert!(line.contains("key 1 is not 32 bytes") && !line.contains("hush"), "{line}");
    place.give(&["1"]);
    fs::set_permissions(place.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(place.refused(&[], true).contains("chmod 600"));
    place.give(&["1"]);
    assert!(bytes(&place.path("data")) == before, "every file is as it was");
    let away = fs::read(place.path("data/KEY")).unwrap();
    fs::remove_file(place.path("data/KEY")).unwrap();
    assert!(place.refused(&[], true).contains("its KEY file is missing"));
    fs::write(place.path("data/KEY"), &away[1..]).unwrap();
    assert!(place.refused(&[], true).contains("is damaged"));
    fs::write(place.path("data/KEY"), away).unwrap();
    drop(place.serve(true, &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_is_not_encrypted_is_not_served_as_if_it_were() {
    let place = Place::new();
    let mut server = place.serve(false, &[]).await;
    server.terminate();
    server.exited().await;
    assert!(place.refused(&[], true).contains("is not encrypted, and a key is given"));
    drop(place.serve(false, &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_takes_over_at_a_start() {
    let place = Place::new();
    let mut server = place.serve(true, &[]).await;
    let person = Person::register_as(&server, HANDLE).await;
    let post = person.post(TEXT).await;
    place.give(&["2", "1"]);
    server.restart().await;
    place.give(&["2"]);
    server.restart().await;
    let person = person.at(&server);
    person.sees(std::slice::from_ref(&post)).await;
    // A kill has no part in it: the log that was copied goes on, and opens with the new key too.
    done(&program().args(["backup", "--admin", &server.admin]).output().unwrap());
    server.settled().await;
    server.terminate();
    server.exited().await;
    place.give(&["1"]);
    assert!(place.refused(&[], true).contains("is locked with key"));
    assert!(refused(&place.run(&["restore"], "restored", true)).contains("is locked with key"));
    place.give(&["2"]);
    done(&place.run(&["restore"], "restored", true));
    done(&place.run(&["verify"], "restored", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_keys_are_rotated_as_they_are_sealed() {
    let place = Place::new();
    let mut server = place.serve(true, &[]).await;
    let person = Person::register_as(&server, HANDLE).await;
    let try_out = || place.run(&["rotate-keys", "--dry-run"], "data", true);
    assert!(refused(&try_out()).contains("in use by another process"));
    for (rotations, status) in [(1, 200), (2, 401)] {
        server.terminate();
        server.exited().await;
        let before = bytes(&place.path("data"));
        let signing = place.path("data/keys/signing.json");
        let told = format!("{} would be written\n", signing.display());
        assert_eq!(done(&try_out()), told);
        place.give(&["2", "1"]);
        let key = place.path("data/KEY");
        assert_eq!(done(&try_out()), format!("{told}{} would be written\n", key.display()));
        place.give(&["2"]);
        assert!(refused(&try_out()).contains("is locked with key"));
        place.give(&["1"]);
        let whole = fs::read(&signing).unwrap();
        fs::write(&signing, &whole[1..]).unwrap();
        let line = refused(&try_out());
        assert!(line.contains("signing.json: damaged"), "{line}");
        fs::write(&signing, whole).unwrap();
        assert!(bytes(&place.path("data")) == before, "nothing is written");
        for _ in 0..rotations {
            done(&place.run(&["rotate-keys"], "data", true));
        }
        server.start_again(program()).await;
        assert_eq!(person.at(&server).get("/users/me").await.status, status, "after {rotations}");
    }
    assert!(!holds(&bytes(&place.path("data/keys")), KEY_SET));
}
