//! What is encrypted is not readable, cannot be changed unnoticed, and opens with its key alone.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod encrypted;

use std::fs;
use std::path::Path;

use conformance::disk::{bytes, holds};
use conformance::{SeededIds, TestClock};
use embedded::encryption::{Encryption, EncryptionError, OperatorKeys};
use embedded::table::{OpenError, Options, Store};
use kernel::audit::Snapshot;
use kernel::table::{Item, Key, Query, Table, TableError, Write, get_one};
use kernel::{Ids, Time};

const NAMES: &[&str] = &["names#"];

fn operator(keys: &str) -> OperatorKeys {
    OperatorKeys::parse(keys).unwrap()
}

fn key(letter: &str) -> String {
    letter.repeat(64)
}

fn store(dir: &Path, encryption: Encryption) -> Result<Store, OpenError> {
    let options =
        Options { encryption, hidden_sorts: NAMES, cache_bytes: 4096, ..Options::default() };
    Store::open(dir.join("user"), options, TestClock::new())
}

fn encrypted_store(dir: &Path) -> Store {
    store(dir, encrypted::encryption(dir)).unwrap()
}

/// What a store is given, with a word that stands for each part of it.
async fn fill(store: &Store) {
    let id = SeededIds::new(TestClock::new(), 5).ulid().to_string();
    let later = Time::from_millis(i64::MAX / 2);
    let writes = vec![
        Write::put(Key::new("handle#turnip-handle", ""), "turnip-owner"),
        Write::put(Key::new(format!("profile#{id}"), ""), "turnip-profile").expiring(later),
        Write::put(Key::new("names#t", "turnip-name"), "turnip-found"),
        Write::put(Key::new("names#t", "turnip-other"), "turnip-found"),
    ];
    store.commit(writes).await.unwrap();
    let many = (0..200).map(|n| Write::add(Key::new("counts#few", format!("{n:03}")), n));
    for writes in many.collect::<Vec<_>>().chunks(50) {
        store.commit(writes.to_vec()).await.unwrap();
    }
}

const WORDS: [&str; 6] = [
    "turnip-handle",
    "turnip-owner",
    "turnip-profile",
    "turnip-name",
    "turnip-other",
    "turnip-found",
];

#[tokio::test]
async fn neither_values_nor_names_are_on_the_disk() {
    for is_encrypted in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let encryption = match is_encrypted {
            true => encrypted::encryption(dir.path()),
            false => Encryption::default(),
        };
        let store = store(dir.path(), encryption).unwrap();
        fill(&store).await;
        drop(store);
        let found = bytes(dir.path());
        for word in WORDS {
            assert_eq!(holds(&found, word), !is_encrypted, "{word}");
        }
    }
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let (dir, plain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut found = Vec::new();
    for (dir, encryption) in
        [(&dir, encrypted::encryption(dir.path())), (&plain, Encryption::default())]
    {
        fill(&store(dir.path(), encryption.clone()).unwrap()).await;
        let store = store(dir.path(), encryption).unwrap();
        let walk = |prefix: &str| -> Vec<Item> {
            let mut items: Vec<Item> = store.items(prefix).map(Result::unwrap).collect();
            items.sort_by(|a, b| a.key.cmp(&b.key));
            items
        };
        let all = walk("");
        assert_eq!(all.len(), 204);
        for item in &all {
            assert_eq!(get_one(&store, item.key.clone()).await.unwrap().as_ref(), Some(item));
        }
        assert_eq!(walk("names#").len(), 2);
        assert_eq!(walk("handle#turnip").len(), 1);
        assert_eq!(walk("handle#carrot").len(), 0);
        let query = Query::all("names#t", 5).starting_with("turnip-n");
        let named = store.query(query).await.unwrap().items;
        assert_eq!(named.iter().map(|item| &item.key.sort).collect::<Vec<_>>(), ["turnip-name"]);
        found.push(all);
    }
    assert_eq!(found[0], found[1], "they differ in nothing but how they are stored");
}

#[tokio::test]
async fn a_changed_or_moved_value_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("user");
    let left = Key::new("p", "left");
    let store = encrypted_store(dir.path());
    store
        .commit(vec![Write::put(left.clone(), "left"), Write::put(Key::new("p", "right"), "right")])
        .await
        .unwrap();
    drop(store);
    // Puts something in the place of what is stored, and gives what is stored at both keys.
    let put = |value: Option<Vec<u8>>| {
        let db = fjall::Database::builder(place.join("engine")).open().unwrap();
        let rows = db.keyspace("items", fjall::KeyspaceCreateOptions::default).unwrap();
        value.into_iter().for_each(|value| rows.insert("p\0left", value).unwrap());
        ["p\0left", "p\0right"].map(|key| rows.get(key).unwrap().unwrap().to_vec())
    };
    let [written, right] = put(None);
    let refused = async |what: &str| {
        let store = encrypted_store(dir.path());
        let found = get_one(&store, left.clone()).await;
        assert!(matches!(found, Err(TableError::Malformed(_))), "{what}: {found:?}");
        let found = store.query(Query::all("p", 5)).await;
        assert!(matches!(found, Err(TableError::Malformed(_))), "{what}: {found:?}");
    };
    // Each other byte is changed where the cipher itself is tested.
    for at in (0..written.len()).step_by(written.len() / 4) {
        let mut changed = written.clone();
        changed[at] ^= 0x10;
        put(Some(changed));
        refused(&format!("byte {at}")).await;
    }
    put(Some(written[1..].to_vec()));
    refused("a value that was cut").await;
    put(Some(right));
    refused("the value of another key").await;
    put(Some(b"\x01\x01\x01left".to_vec()));
    refused("a value that is not sealed").await;
    put(Some(written));
    let store = encrypted_store(dir.path());
    assert_eq!(get_one(&store, left.clone()).await.unwrap().unwrap().body, "left");
}

#[tokio::test]
async fn a_database_of_another_part_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fill(&encrypted_store(dir.path())).await;
    fs::rename(dir.path().join("user"), dir.path().join("post")).unwrap();
    let options = Options { encryption: encrypted::encryption(dir.path()), ..Options::default() };
    let store = Store::open(dir.path().join("post"), options, TestClock::new()).unwrap();
    let found = store.query(Query::all("counts#few", 5)).await.unwrap();
    assert!(found.items.is_empty(), "its names are not known here");
    assert!(store.items("").next().unwrap().is_err());
}

#[test]
fn a_store_opens_only_as_it_was_made() {
    let (dir, plain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(encrypted_store(dir.path()));
    drop(store(plain.path(), Encryption::default()).unwrap());
    let error = store(dir.path(), Encryption::default()).err().unwrap();
    assert!(matches!(error, OpenError::Encrypted { .. }), "{error}");
    let error = store(plain.path(), encrypted::encryption(dir.path())).err().unwrap();
    assert!(matches!(error, OpenError::NotEncrypted { .. }), "{error}");
}

#[test]
fn the_data_key_opens_with_its_operators_key_alone() {
    let (dir, ids) = (tempfile::tempdir().unwrap(), SeededIds::new(TestClock::new(), 1));
    let (one, two) = (operator(&key("1")), operator(&key("2")));
    let made = Encryption::begin(dir.path(), Some(&one), &*ids).unwrap();
    assert_eq!(Encryption::open(dir.path(), Some(&one)).unwrap(), made);
    let refused = Encryption::open(dir.path(), Some(&two)).unwrap_err();
    assert!(matches!(refused, EncryptionError::WrongKey { .. }), "{refused}");
    let line = refused.to_string();
    assert!(!line.contains('\n') && !line.contains(&"1".repeat(20)), "{line}");
    let refused = Encryption::open(dir.path(), None).unwrap_err();
    assert!(matches!(refused, EncryptionError::Missing(_)), "{refused}");
    let empty = tempfile::tempdir().unwrap();
    assert!(!Encryption::open(empty.path(), None).unwrap().is_on());
    let refused = Encryption::open(empty.path(), Some(&one)).unwrap_err();
    assert!(matches!(refused, EncryptionError::NotEncrypted(_)), "{refused}");
}

#[tokio::test]
async fn a_new_operators_key_takes_over_and_the_old_one_is_needed_no_more() {
    let (dir, ids) = (tempfile::tempdir().unwrap(), SeededIds::new(TestClock::new(), 1));
    let begun = Encryption::begin(dir.path(), Some(&operator(&key("1"))), &*ids).unwrap();
    assert!(!begun.settle(dir.path()).unwrap());
    let before = fs::read(dir.path().join("KEY")).unwrap();
    let both = operator(&format!("{}\n{}\n", key("2"), key("1")));
    let opened = Encryption::open(dir.path(), Some(&both)).unwrap();
    assert_eq!(fs::read(dir.path().join("KEY")).unwrap(), before, "looking changes nothing");
    assert!(opened.settle(dir.path()).unwrap());
    assert!(!opened.settle(dir.path()).unwrap(), "once");
    let rotated = Encryption::open(dir.path(), Some(&operator(&key("2")))).unwrap();
    assert!(!rotated.settle(dir.path()).unwrap());
    Encryption::open(dir.path(), Some(&operator(&key("1")))).unwrap_err();
    // The data key is still the same.
    fill(&store(dir.path(), begun).unwrap()).await;
    assert_eq!(store(dir.path(), rotated).unwrap().items("").map(Result::unwrap).count(), 204);
}
