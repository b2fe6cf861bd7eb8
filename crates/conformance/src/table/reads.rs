//! Reading by key.

use kernel::table::{GET_KEYS_MAX, Key, PARTITION_BYTES_MAX, SORT_BYTES_MAX, Write};

use super::{Fixture, is_malformed, key, put};

pub async fn an_unknown_key_is_absent(f: &Fixture) {
    assert_eq!(f.get(key("a")).await, None);
    f.commit([put("b", "")]).await;
    assert_eq!(f.get(key("a")).await, None);
    assert_eq!(f.get(Key::new("q", "b")).await, None);
}

pub async fn a_put_item_is_read_back(f: &Fixture) {
    let body = r#"{"text":"grüß dich \u0000"}"#;
    f.commit([put("a", body)]).await;
    let item = f.present(key("a")).await;
    assert_eq!(item.key, key("a"));
    assert_eq!(item.body, body.as_bytes());
    assert_eq!((item.count, item.expires_at), (0, None));
}

pub async fn get_keeps_the_order_of_the_keys_and_their_repetitions(f: &Fixture) {
    f.fill(&["a", "b", "c"]).await;
    let keys = ["c", "x", "a", "c", "b"].map(key);
    let found = f.table.get(&keys).await.expect("the items can be read");
    let sorts: Vec<_> = found.iter().map(|item| Some(&*item.as_ref()?.key.sort)).collect();
    assert_eq!(sorts, [Some("c"), None, Some("a"), Some("c"), Some("b")]);
}

pub async fn empty_sort_keys_and_empty_bodies_are_fine(f: &Fixture) {
    f.commit([put("", "")]).await;
    let item = f.present(key("")).await;
    assert!(item.body.is_empty() && item.key.sort.is_empty());
}

pub async fn get_takes_a_hundred_keys_and_no_more(f: &Fixture) {
    let keys: Vec<Key> = (0..=GET_KEYS_MAX).map(|n| key(&format!("{n:03}"))).collect();
    f.fill(&["000", "099"]).await;
    let found = f.table.get(&keys[..GET_KEYS_MAX]).await.expect("a hundred keys are taken");
    assert_eq!(found.len(), GET_KEYS_MAX);
    assert_eq!(found.iter().flatten().count(), 2);
    let refusal = f.table.get(&keys).await.expect_err("one more is refused");
    assert!(is_malformed(&refusal), "{refusal:?}");
    let refusal = f.table.get(&[]).await.expect_err("none are refused");
    assert!(is_malformed(&refusal), "{refusal:?}");
}

pub async fn partitions_are_refused_when_empty_too_long_or_with_nul(f: &Fixture) {
    let longest = "p".repeat(PARTITION_BYTES_MAX);
    f.commit([Write::put(Key::new(&*longest, ""), "x")]).await;
    assert_eq!(f.present(Key::new(&*longest, "")).await.body, "x");
    for bad in [String::new(), "a\0b".to_owned(), longest + "p"] {
        let refusal = f.refusal([Write::put(Key::new(&*bad, ""), "x")]).await;
        assert!(is_malformed(&refusal), "{refusal:?}");
        let refusal = f.table.get(&[Key::new(bad, "")]).await.expect_err("refused");
        assert!(is_malformed(&refusal), "{refusal:?}");
    }
}

pub async fn sort_keys_may_hold_anything_up_to_their_limit(f: &Fixture) {
    let longest = "s".repeat(SORT_BYTES_MAX);
    for sort in ["\0", "a\0b", "#", "ä", "\u{10FFFF}", &longest] {
        f.commit([put(sort, sort)]).await;
        assert_eq!(f.present(key(sort)).await.body, sort.as_bytes());
    }
    let refusal = f.refusal([put(&(longest + "s"), "")]).await;
    assert!(is_malformed(&refusal), "{refusal:?}");
}

pub async fn keys_of_neighbouring_partitions_do_not_mix(f: &Fixture) {
    let keys = [("a", "b#c"), ("a#b", "c"), ("ab", "#c"), ("a", "b"), ("ab", "")];
    let keys = keys.map(|(partition, sort)| Key::new(partition, sort));
    for (n, key) in keys.iter().enumerate() {
        f.commit([Write::put(key.clone(), n.to_string())]).await;
    }
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(f.present(key.clone()).await.body, n.to_string());
    }
}
