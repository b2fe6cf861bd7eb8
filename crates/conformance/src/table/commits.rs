//! Writing all or nothing, under conditions.

use std::collections::HashSet;

use kernel::table::{
    COMMIT_BYTES_MAX, COMMIT_WRITES_MAX, Condition, ITEM_BYTES_MAX, Query, TableError, Write,
};

use super::{Fixture, is_malformed, key, put, scatter_put};

pub async fn a_commit_has_one_to_a_hundred_writes(f: &Fixture) {
    let writes: Vec<Write> = (0..=COMMIT_WRITES_MAX).map(|n| put(&format!("{n:03}"), "")).collect();
    f.commit(&writes[..f.commit_writes_max]).await;
    assert_eq!(f.sorts(Query::all("p", 1000)).await.len(), f.commit_writes_max);
    assert!(is_malformed(&f.refusal(writes).await));
    assert!(is_malformed(&f.refusal([]).await));
}

pub async fn two_writes_on_one_key_are_refused(f: &Fixture) {
    for second in [put("a", "2"), Write::delete(key("a")), Write::add(key("a"), 1)] {
        assert!(is_malformed(&f.refusal([put("a", "1"), second]).await));
    }
    let check = Write::check(key("a"), Condition::Absent);
    assert!(is_malformed(&f.refusal([put("a", "1"), check]).await));
    assert_eq!(f.get(key("a")).await, None);
}

pub async fn an_item_may_have_its_limit_in_bytes_and_no_more(f: &Fixture) {
    let largest = "x".repeat(ITEM_BYTES_MAX - 2);
    f.commit([put("a", &largest)]).await;
    assert_eq!(f.present(key("a")).await.body, largest);
    assert!(is_malformed(&f.refusal([put("b", &(largest + "x"))]).await));
}

pub async fn a_commit_may_have_its_limit_in_bytes_and_no_more(f: &Fixture) {
    let body = "x".repeat(COMMIT_BYTES_MAX / 16 - 3);
    let writes: Vec<Write> = (10..26).map(|n| put(&n.to_string(), &body)).collect();
    let most = f.commit_writes_max.min(writes.len());
    f.commit(&writes[..most]).await;
    assert_eq!(f.sorts(Query::all("p", 100)).await.len(), most);
    let more = [writes, vec![put("26", &body)]].concat();
    assert!(is_malformed(&f.refusal(more).await));
}

pub async fn a_malformed_commit_writes_nothing(f: &Fixture) {
    let long = "s".repeat(2000);
    assert!(is_malformed(&f.refusal([put("a", ""), put(&long, "")]).await));
    assert_eq!(f.get(key("a")).await, None);
}

pub async fn absent_holds_only_of_what_is_not_there(f: &Fixture) {
    let create = || put("a", "1").when(Condition::Absent);
    f.commit([create()]).await;
    assert_eq!(f.refusal([create()]).await, TableError::Unmet(0));
    f.commit([Write::delete(key("a"))]).await;
    f.commit([create()]).await;
}

pub async fn present_holds_only_of_what_is_there(f: &Fixture) {
    let replace = || put("a", "2").when(Condition::Present);
    assert_eq!(f.refusal([replace()]).await, TableError::Unmet(0));
    f.commit([put("a", "1")]).await;
    f.commit([replace()]).await;
    assert_eq!(f.present(key("a")).await.body, "2");
    f.commit([Write::delete(key("a")).when(Condition::Present)]).await;
    assert_eq!(f.refusal([replace()]).await, TableError::Unmet(0));
}

pub async fn a_version_holds_only_while_nobody_wrote(f: &Fixture) {
    let at = |version| put("a", "x").when(Condition::Version(version));
    let version = async || f.present(key("a")).await.version;
    assert_eq!(f.refusal([at(0)]).await, TableError::Unmet(0));
    f.commit([put("a", "1")]).await;
    let first = version().await;
    f.commit([at(first)]).await;
    assert_eq!(f.refusal([at(first)]).await, TableError::Unmet(0));
    let second = version().await;
    f.commit([Write::add(key("a"), 1)]).await;
    assert_eq!(f.refusal([at(second)]).await, TableError::Unmet(0));
    let third = version().await;
    f.commit([Write::delete(key("a")).when(Condition::Version(third))]).await;
    assert_eq!(f.get(key("a")).await, None);
    assert_eq!(f.refusal([at(third)]).await, TableError::Unmet(0));
}

pub async fn the_first_unmet_condition_is_named(f: &Fixture) {
    f.fill(&["b", "c"]).await;
    let writes = [
        put("a", "").when(Condition::Absent),
        put("b", "").when(Condition::Absent),
        Write::check(key("c"), Condition::Absent),
    ];
    assert_eq!(f.refusal(&writes[..]).await, TableError::Unmet(1));
    assert_eq!(f.refusal([writes[2].clone(), writes[1].clone()]).await, TableError::Unmet(0));
}

pub async fn an_unmet_condition_writes_nothing_at_all(f: &Fixture) {
    f.commit([put("kept", "1"), Write::add(key("counter"), 5)]).await;
    let before = (f.present(key("kept")).await, f.present(key("counter")).await);
    let writes = [
        put("new", ""),
        put("kept", "2"),
        Write::delete(key("kept2")),
        Write::add(key("counter"), 1),
        put("last", "").when(Condition::Present),
    ];
    assert_eq!(f.refusal(writes).await, TableError::Unmet(4));
    assert_eq!(f.get(key("new")).await, None);
    assert_eq!(f.get(key("last")).await, None);
    assert_eq!((f.present(key("kept")).await, f.present(key("counter")).await), before);
}

pub async fn a_check_guards_the_others_and_writes_nothing(f: &Fixture) {
    f.commit([put("a", "1")]).await;
    let before = f.present(key("a")).await;
    let here = || Write::check(key("a"), Condition::Present);
    f.commit([here(), put("b", "")]).await;
    f.commit([here()]).await;
    assert_eq!(f.present(key("a")).await, before);
    let gone = Write::check(key("a"), Condition::Absent);
    assert_eq!(f.refusal([put("c", ""), gone]).await, TableError::Unmet(1));
    f.commit([Write::check(key("x"), Condition::Absent)]).await;
    assert_eq!(f.get(key("x")).await, None);
    f.commit([Write::check(key("x"), Condition::Always)]).await;
}

pub async fn a_version_never_comes_again(f: &Fixture) {
    let writes = [
        put("a", ""),
        Write::add(key("a"), 1),
        put("a", "same"),
        put("a", "same"),
        Write::delete(key("a")),
        put("a", "same"),
        Write::add(key("a"), 1).when(Condition::Present),
        Write::delete(key("a")).when(Condition::Present),
        Write::add(key("a"), 1).when(Condition::Absent),
    ];
    let (mut committed, mut scattered) = (Vec::new(), Vec::new());
    for write in writes {
        f.commit([write, put("other", "")]).await;
        committed.extend(f.get(key("a")).await.map(|item| item.version));
        f.scatter([scatter_put("b", "same")]).await;
        scattered.push(f.present(key("b")).await.version);
    }
    for seen in [committed, scattered] {
        let different: HashSet<_> = seen.iter().collect();
        assert_eq!(different.len(), seen.len(), "{seen:?}");
    }
}

pub async fn a_deleted_item_starts_over(f: &Fixture) {
    f.commit([put("a", "1")]).await;
    f.commit([Write::add(key("a"), 7)]).await;
    f.commit([Write::delete(key("a"))]).await;
    f.commit([put("a", "2")]).await;
    assert_eq!(f.present(key("a")).await.count, 0);
}

pub async fn a_put_replaces_the_body_and_clears_the_counter(f: &Fixture) {
    f.commit([put("a", "1")]).await;
    f.commit([Write::add(key("a"), 7)]).await;
    f.commit([put("a", "2")]).await;
    let item = f.present(key("a")).await;
    assert_eq!((&item.body[..], item.count), (&b"2"[..], 0));
}

pub async fn an_add_makes_or_keeps_the_item(f: &Fixture) {
    f.commit([Write::add(key("new"), 3)]).await;
    let new = f.present(key("new")).await;
    assert_eq!((new.body.len(), new.count, new.expires_at), (0, 3, None));
    f.commit([put("old", "body")]).await;
    f.commit([Write::add(key("old"), 3)]).await;
    f.commit([Write::add(key("old"), 4)]).await;
    let old = f.present(key("old")).await;
    assert_eq!((&old.body[..], old.count), (&b"body"[..], 7));
}

pub async fn counters_go_below_zero(f: &Fixture) {
    f.commit([Write::add(key("a"), -5)]).await;
    assert_eq!(f.present(key("a")).await.count, -5);
    f.commit([Write::add(key("a"), 5)]).await;
    f.commit([Write::add(key("a"), 1_000_000_000_000)]).await;
    assert_eq!(f.present(key("a")).await.count, 1_000_000_000_000);
    f.commit([Write::add(key("zero"), 0)]).await;
    assert_eq!(f.present(key("zero")).await.count, 0);
}

pub async fn deleting_what_is_not_there_is_fine_unless_it_must_be(f: &Fixture) {
    f.commit([Write::delete(key("a"))]).await;
    f.commit([Write::delete(key("a")).when(Condition::Absent)]).await;
    let must = Write::delete(key("a")).when(Condition::Present);
    assert_eq!(f.refusal([must]).await, TableError::Unmet(0));
    assert_eq!(f.get(key("a")).await, None);
}

pub async fn an_add_can_be_conditional(f: &Fixture) {
    let add = |condition| Write::add(key("a"), 1).when(condition);
    assert_eq!(f.refusal([add(Condition::Present)]).await, TableError::Unmet(0));
    f.commit([add(Condition::Absent)]).await;
    assert_eq!(f.refusal([add(Condition::Absent)]).await, TableError::Unmet(0));
    let version = f.present(key("a")).await.version;
    f.commit([add(Condition::Version(version))]).await;
    assert_eq!(f.present(key("a")).await.count, 2);
}

pub async fn a_commit_is_seen_at_once_by_get_and_query(f: &Fixture) {
    for n in 0..50 {
        let body = n.to_string();
        f.commit([put("a", &body), put(&format!("row{n:02}"), &body)]).await;
        assert_eq!(f.present(key("a")).await.body, body);
        let newest = f.query(Query::all("p", 1).descending()).await;
        assert_eq!(newest.items[0].body, body);
        f.commit([Write::delete(key("a"))]).await;
        assert_eq!(f.get(key("a")).await, None);
    }
}

pub async fn a_mixed_commit_happens_as_a_whole(f: &Fixture) {
    f.fill(&["replaced", "deleted", "checked"]).await;
    let at = async |sort| Condition::Version(f.present(key(sort)).await.version);
    f.commit([
        put("replaced", "2").when(at("replaced").await),
        Write::delete(key("deleted")).when(Condition::Present),
        Write::check(key("checked"), at("checked").await),
        Write::add(key("counted"), 2).when(Condition::Absent),
        put("made", "").when(Condition::Absent),
    ])
    .await;
    let sorts = f.sorts(Query::all("p", 10)).await;
    assert_eq!(sorts, ["checked", "counted", "made", "replaced"]);
    assert_eq!(f.present(key("replaced")).await.body, "2");
}
