//! Many plain writes at once.

use kernel::table::{Condition, QUERY_ITEMS_MAX, Query, SCATTER_WRITES_MAX, Scatter, Write};

use super::{Fixture, is_malformed, key, put, scatter_put};

pub async fn scattered_items_are_read_back(f: &Fixture) {
    f.scatter([scatter_put("a", "1"), scatter_put("b", "2")]).await;
    let item = f.present(key("b")).await;
    assert_eq!((&item.body[..], item.count), (&b"2"[..], 0));
    assert_eq!(f.sorts(Query::all("p", 10)).await, ["a", "b"]);
}

pub async fn a_scatter_replaces_the_whole_item(f: &Fixture) {
    f.commit([put("a", "1")]).await;
    f.commit([Write::add(key("a"), 5)]).await;
    f.scatter([scatter_put("a", "2")]).await;
    let item = f.present(key("a")).await;
    assert_eq!((&item.body[..], item.count), (&b"2"[..], 0));
}

pub async fn a_scatter_deletes(f: &Fixture) {
    f.fill(&["a", "b", "c"]).await;
    assert!(f.get(key("a")).await.is_some());
    f.scatter([Scatter::Delete(key("a")), Scatter::Delete(key("x")), scatter_put("d", "")]).await;
    assert_eq!(f.get(key("a")).await, None);
    assert_eq!(f.sorts(Query::all("p", 10)).await, ["b", "c", "d"]);
}

pub async fn a_scatter_may_be_repeated(f: &Fixture) {
    f.fill(&["gone"]).await;
    for _ in 0..3 {
        f.scatter([scatter_put("a", "1"), Scatter::Delete(key("gone"))]).await;
    }
    assert_eq!(f.present(key("a")).await.body, "1");
    assert_eq!(f.get(key("gone")).await, None);
}

pub async fn ten_thousand_writes_fit_one_scatter_and_no_more(f: &Fixture) {
    let writes: Vec<Scatter> =
        (0..=SCATTER_WRITES_MAX).map(|n| scatter_put(&format!("{n:05}"), "row")).collect();
    f.scatter(&writes[..SCATTER_WRITES_MAX]).await;
    let mut query = Query::all("p", QUERY_ITEMS_MAX);
    let mut seen = 0;
    loop {
        let page = f.query(query.clone()).await;
        seen += page.items.len();
        let Some(next) = page.next else { break };
        query = query.above(next);
    }
    assert_eq!(seen, SCATTER_WRITES_MAX);
    let refusal = f.table.scatter(writes).await.expect_err("one more is refused");
    assert!(is_malformed(&refusal), "{refusal:?}");
    assert_eq!(f.get(key("10000")).await, None);
}

pub async fn a_scatter_refuses_none_and_two_on_one_key(f: &Fixture) {
    for writes in [vec![], vec![scatter_put("a", ""), Scatter::Delete(key("a"))]] {
        let refusal = f.table.scatter(writes).await.expect_err("refused");
        assert!(is_malformed(&refusal), "{refusal:?}");
    }
    assert_eq!(f.get(key("a")).await, None);
}

pub async fn commits_go_on_from_scattered_items(f: &Fixture) {
    f.scatter([scatter_put("a", "1")]).await;
    let version = f.present(key("a")).await.version;
    f.commit([Write::add(key("a"), 2).when(Condition::Version(version))]).await;
    let item = f.present(key("a")).await;
    assert_eq!((&item.body[..], item.count), (&b"1"[..], 2));
}
