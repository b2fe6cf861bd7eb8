//! Items that end by themselves.

use std::time::Duration;

use kernel::table::{Condition, Query, Scatter, TableError, Write};
use kernel::{Clock, Time};

use super::{Fixture, key, put};

const HOUR: Duration = Duration::from_hours(1);
const MILLI: Duration = Duration::from_millis(1);

fn in_an_hour(f: &Fixture) -> Time {
    f.clock.now() + HOUR
}

pub async fn an_item_expires_at_its_moment(f: &Fixture) {
    let at = in_an_hour(f);
    f.commit([put("a", "x").expiring(at)]).await;
    f.clock.advance(HOUR - MILLI);
    assert_eq!(f.present(key("a")).await.expires_at, Some(at));
    f.clock.advance(MILLI);
    assert_eq!(f.get(key("a")).await, None);
    assert!(f.sorts(Query::all("p", 10)).await.is_empty());
}

pub async fn expired_items_are_left_out_of_pages_without_shortening_them(f: &Fixture) {
    let at = in_an_hour(f);
    for n in 0..20 {
        let write = put(&format!("{n:02}"), "");
        f.commit([if n % 2 == 0 { write.expiring(at) } else { write }]).await;
    }
    f.clock.advance(HOUR);
    let page = f.query(Query::all("p", 4)).await;
    let sorts: Vec<_> = page.items.iter().map(|item| &*item.key.sort).collect();
    assert_eq!((sorts, page.next.as_deref()), (vec!["01", "03", "05", "07"], Some("07")));
    let page = f.query(Query::all("p", 5).above("09")).await;
    assert_eq!((page.items.len(), page.next), (5, None));
}

pub async fn expired_items_are_absent_to_conditions(f: &Fixture) {
    f.commit([put("a", "").expiring(in_an_hour(f))]).await;
    let same = Condition::Version(f.present(key("a")).await.version);
    f.commit([Write::check(key("a"), same)]).await;
    f.clock.advance(HOUR);
    for condition in [Condition::Present, same] {
        let check = Write::check(key("a"), condition);
        assert_eq!(f.refusal([check]).await, TableError::Unmet(0), "{condition:?}");
    }
    f.commit([Write::check(key("a"), Condition::Absent)]).await;
}

pub async fn a_put_over_an_expired_item_starts_over(f: &Fixture) {
    f.commit([put("a", "1").expiring(in_an_hour(f))]).await;
    f.commit([Write::add(key("a"), 1)]).await;
    f.clock.advance(HOUR);
    f.commit([put("a", "2").when(Condition::Absent)]).await;
    let item = f.present(key("a")).await;
    assert_eq!((&item.body[..], item.count, item.expires_at), (&b"2"[..], 0, None));
}

pub async fn an_add_over_an_expired_item_starts_over(f: &Fixture) {
    f.commit([put("a", "1").expiring(in_an_hour(f))]).await;
    f.commit([Write::add(key("a"), 5)]).await;
    f.clock.advance(HOUR);
    f.commit([Write::add(key("a"), 2)]).await;
    let item = f.present(key("a")).await;
    assert_eq!((item.body.len(), item.count, item.expires_at), (0, 2, None));
}

pub async fn a_put_without_expiry_lifts_it(f: &Fixture) {
    f.commit([put("a", "1").expiring(in_an_hour(f))]).await;
    f.commit([put("a", "2")]).await;
    f.commit([put("b", "1").expiring(in_an_hour(f))]).await;
    f.commit([put("b", "2").expiring(in_an_hour(f) + HOUR)]).await;
    f.clock.advance(HOUR);
    assert_eq!(f.present(key("a")).await.body, "2");
    assert_eq!(f.present(key("b")).await.body, "2");
    f.clock.advance(HOUR);
    assert_eq!(f.sorts(Query::all("p", 10)).await, ["a"]);
}

pub async fn an_add_keeps_the_expiry(f: &Fixture) {
    let at = in_an_hour(f);
    f.commit([put("a", "").expiring(at)]).await;
    f.commit([Write::add(key("a"), 1)]).await;
    assert_eq!(f.present(key("a")).await.expires_at, Some(at));
    f.clock.advance(HOUR);
    assert_eq!(f.get(key("a")).await, None);
}

pub async fn what_has_expired_already_is_never_seen(f: &Fixture) {
    f.commit([put("a", "").expiring(f.clock.now())]).await;
    f.commit([put("b", "").expiring(Time::from_millis(0))]).await;
    assert_eq!(f.get(key("a")).await, None);
    assert_eq!(f.get(key("b")).await, None);
    f.commit([put("a", "").when(Condition::Absent)]).await;
}

pub async fn scattered_items_expire_too(f: &Fixture) {
    let expires_at = Some(in_an_hour(f));
    f.scatter([Scatter::Put { key: key("a"), body: "x".into(), expires_at }]).await;
    assert_eq!(f.present(key("a")).await.expires_at, expires_at);
    f.clock.advance(HOUR);
    assert_eq!(f.get(key("a")).await, None);
}
