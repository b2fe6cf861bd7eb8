//! Walking through a partition.

use std::ops::Bound;

use kernel::table::{Key, Order, QUERY_ITEMS_MAX, Query, Scatter, Write};

use super::{Fixture, is_malformed, put, scatter_put};

pub async fn a_query_walks_one_partition_only(f: &Fixture) {
    for partition in ["o", "p", "p!", "p\u{1}", "p#", "pp", "q"] {
        f.commit([Write::put(Key::new(partition, "s"), partition.to_owned())]).await;
    }
    for partition in ["o", "p", "p!", "p\u{1}", "p#", "pp", "q"] {
        let found = f.query(Query::all(partition, 10)).await;
        let bodies: Vec<_> = found.items.iter().map(|item| item.body.clone()).collect();
        assert_eq!(bodies, [partition]);
    }
}

pub async fn sort_keys_ascend_by_bytes(f: &Fixture) {
    f.fill(&["b", "10", "9", "", "ä", "a", "Z", "\0", "ab", "\u{10FFFF}"]).await;
    let expected = ["", "\0", "10", "9", "Z", "a", "ab", "b", "ä", "\u{10FFFF}"];
    assert_eq!(f.sorts(Query::all("p", 100)).await, expected);
}

pub async fn a_query_can_descend(f: &Fixture) {
    f.fill(&["a", "b", "c"]).await;
    assert_eq!(f.sorts(Query::all("p", 100).descending()).await, ["c", "b", "a"]);
    let below = Query::all("p", 100).descending().below("c");
    assert_eq!(f.sorts(below).await, ["b", "a"]);
}

pub async fn a_query_keeps_its_limit_and_says_where_to_go_on(f: &Fixture) {
    f.fill(&["a", "b", "c"]).await;
    let page = f.query(Query::all("p", 2)).await;
    assert_eq!((page.items.len(), page.next.as_deref()), (2, Some("b")));
    let page = f.query(Query::all("p", 2).descending()).await;
    assert_eq!((page.items.len(), page.next.as_deref()), (2, Some("b")));
    let page = f.query(Query::all("p", 1).above("a")).await;
    assert_eq!(page.items[0].key.sort, "b");
    assert_eq!(page.next.as_deref(), Some("b"));
}

pub async fn pages_join_to_the_whole_in_both_directions(f: &Fixture) {
    let all: Vec<String> = (0..25).map(|n| format!("{n:02}")).collect();
    f.scatter(all.iter().map(|sort| scatter_put(sort, "")).collect::<Vec<_>>()).await;
    for limit in [1, 2, 7, 24, 25, 26] {
        for order in [Order::Ascending, Order::Descending] {
            let mut query = Query { order, ..Query::all("p", limit) };
            let mut seen = Vec::new();
            loop {
                let page = f.query(query.clone()).await;
                seen.extend(page.items.into_iter().map(|item| item.key.sort));
                let Some(next) = page.next else { break };
                query = match order {
                    Order::Ascending => query.above(next),
                    Order::Descending => query.below(next),
                };
            }
            if order == Order::Descending {
                seen.reverse();
            }
            assert_eq!(seen, all, "pages of {limit}, {order:?}");
        }
    }
}

pub async fn there_is_no_next_page_at_the_exact_end(f: &Fixture) {
    f.fill(&["a", "b"]).await;
    assert_eq!(f.sorts(Query::all("p", 2)).await, ["a", "b"]);
    assert_eq!(f.sorts(Query::all("p", 2).descending()).await, ["b", "a"]);
    assert_eq!(f.sorts(Query::all("p", 1).above("a")).await, ["b"]);
}

pub async fn bounds_are_inclusive_or_exclusive_as_asked(f: &Fixture) {
    f.fill(&["a", "b", "c", "d"]).await;
    let (b, c) = (|| "b".to_owned(), || "c".to_owned());
    let cases = [
        (Bound::Included(b()), Bound::Included(c()), vec!["b", "c"]),
        (Bound::Included(b()), Bound::Excluded(c()), vec!["b"]),
        (Bound::Excluded(b()), Bound::Included(c()), vec!["c"]),
        (Bound::Excluded(b()), Bound::Excluded(c()), vec![]),
        (Bound::Included(b()), Bound::Included(b()), vec!["b"]),
        (Bound::Unbounded, Bound::Excluded(b()), vec!["a"]),
        (Bound::Excluded(c()), Bound::Unbounded, vec!["d"]),
        (Bound::Included("aa".into()), Bound::Included("bb".into()), vec!["b"]),
    ];
    for (from, to, mut expected) in cases {
        let query = Query { from, to, ..Query::all("p", 10) };
        assert_eq!(f.sorts(query.clone()).await, expected, "{query:?}");
        expected.reverse();
        assert_eq!(f.sorts(query.descending()).await, expected);
    }
}

pub async fn crossed_bounds_find_nothing(f: &Fixture) {
    f.fill(&["a", "b", "c"]).await;
    let (b, c) = (|| "b".to_owned(), || "c".to_owned());
    let crossed = [
        (Bound::Included(c()), Bound::Included(b())),
        (Bound::Excluded(c()), Bound::Excluded(b())),
        (Bound::Excluded(b()), Bound::Excluded(b())),
        (Bound::Included(b()), Bound::Excluded(b())),
        (Bound::Excluded(b()), Bound::Included(b())),
    ];
    for (from, to) in crossed {
        let query = Query { from, to, ..Query::all("p", 10) };
        assert!(f.sorts(query.clone()).await.is_empty(), "{query:?}");
        assert!(f.sorts(query.descending()).await.is_empty());
    }
}

pub async fn a_prefix_finds_what_begins_with_it(f: &Fixture) {
    f.fill(&["a", "b", "b#1", "b#2", "b\u{10FFFE}", "bb", "c"]).await;
    let found = f.sorts(Query::all("p", 10).starting_with("b#")).await;
    assert_eq!(found, ["b#1", "b#2"]);
    let found = f.sorts(Query::all("p", 10).starting_with("b")).await;
    assert_eq!(found, ["b", "b#1", "b#2", "bb", "b\u{10FFFE}"]);
    assert_eq!(f.sorts(Query::all("p", 10).starting_with("")).await.len(), 7);
    assert!(f.sorts(Query::all("p", 10).starting_with("x")).await.is_empty());
}

pub async fn an_unknown_partition_is_empty(f: &Fixture) {
    f.commit([put("a", "")]).await;
    assert!(f.sorts(Query::all("nobody", 10)).await.is_empty());
    assert!(f.sorts(Query::all("nobody", 10).descending()).await.is_empty());
}

pub async fn limits_of_none_and_too_many_are_refused(f: &Fixture) {
    for limit in [0, QUERY_ITEMS_MAX + 1] {
        let refusal = f.table.query(Query::all("p", limit)).await.expect_err("refused");
        assert!(is_malformed(&refusal), "{refusal:?}");
    }
    for partition in ["", "a\0b"] {
        let refusal = f.table.query(Query::all(partition, 1)).await.expect_err("refused");
        assert!(is_malformed(&refusal), "{refusal:?}");
    }
}

pub async fn a_thousand_items_fit_one_page(f: &Fixture) {
    let writes: Vec<Scatter> =
        (0..=QUERY_ITEMS_MAX).map(|n| scatter_put(&format!("{n:04}"), "")).collect();
    f.scatter(writes).await;
    let page = f.query(Query::all("p", QUERY_ITEMS_MAX)).await;
    assert_eq!((page.items.len(), page.next.as_deref()), (QUERY_ITEMS_MAX, Some("0999")));
    assert_eq!(f.sorts(Query::all("p", QUERY_ITEMS_MAX).above("0999")).await, ["1000"]);
}

pub async fn large_items_are_all_found_by_following_next(f: &Fixture) {
    let body = "x".repeat(390 * 1024);
    for n in 0..30 {
        f.commit([put(&format!("{n:02}"), &body)]).await;
    }
    let mut query = Query::all("p", 100);
    let mut seen = 0;
    loop {
        let page = f.query(query.clone()).await;
        assert!(!page.items.is_empty() && page.items.iter().all(|item| item.body == body));
        seen += page.items.len();
        let Some(next) = page.next else { break };
        query = query.above(next);
    }
    assert_eq!(seen, 30);
}
