//! What is DynamoDB's own: how a table is made, what lies in it, and where the emulator differs.

use std::time::Duration;

use aws::dynamodb;
use aws_sdk_dynamodb::types::{AttributeValue, StreamViewType, TimeToLiveStatus};
use bytes::Bytes;
use kernel::table::{Condition, Key, Scatter, Table, TableError, Write, get_one};

use crate::stage::{LOCAL_COMMIT_WRITES_MAX, Stage, client};

fn key(sort: &str) -> Key {
    Key::new("p", sort)
}

#[tokio::test]
async fn a_table_is_made_as_the_templates_make_it_and_making_it_again_is_fine() {
    let stage = Stage::new();
    let client = client();
    dynamodb::create(&client, &stage.name).await.unwrap();
    let found = client.describe_table().table_name(&stage.name).send().await.unwrap();
    let table = found.table().unwrap();
    let stream = table.stream_specification().unwrap();
    assert!(stream.stream_enabled());
    assert_eq!(stream.stream_view_type(), Some(&StreamViewType::NewImage));
    let billing = table.billing_mode_summary().unwrap().billing_mode().unwrap();
    assert_eq!(billing.as_str(), "PAY_PER_REQUEST");
    let expiry = client.describe_time_to_live().table_name(&stage.name).send().await.unwrap();
    let expiry = expiry.time_to_live_description().unwrap();
    assert_eq!(expiry.attribute_name(), Some("exp"));
    assert_eq!(expiry.time_to_live_status(), Some(&TimeToLiveStatus::Enabled));
}

#[tokio::test]
async fn items_lie_in_the_table_as_documented() {
    let stage = Stage::new();
    let at = stage.in_millis(1500);
    let write = Write::put(key(""), "x").expiring(at);
    stage.table().commit(vec![write, Write::add(key("n"), -2)]).await.unwrap();
    let found = client().scan().table_name(&stage.name).send().await.unwrap();
    assert_eq!(found.items().len(), 2);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: i64| AttributeValue::N(number.to_string());
    for item in found.items() {
        assert_eq!(item["pk"], text("p"));
        assert!(item["v"].as_n().unwrap().parse::<u64>().is_ok());
        if item["sk"] == text(".") {
            assert_eq!(item["body"].as_b().unwrap().as_ref(), b"x");
            assert_eq!(item["expms"], number(at.millis()));
            assert_eq!(item["exp"], number((at.millis() + 999) / 1000));
        } else {
            assert_eq!((&item["sk"], &item["n"]), (&text(".n"), &number(-2)));
            assert_eq!(item.len(), 4);
        }
    }
}

#[tokio::test]
async fn a_commit_finds_out_which_of_its_items_have_expired() {
    let stage = Stage::new();
    let table = stage.table();
    let expiring = |sort: &str| Write::put(key(sort), "old").expiring(stage.in_millis(10));
    table.commit(vec![expiring("a"), expiring("b"), Write::put(key("c"), "old")]).await.unwrap();
    table.commit(vec![Write::add(key("a"), 5)]).await.unwrap();
    stage.clock.advance(Duration::from_millis(10));
    let writes = ["a", "b", "c", "d"].map(|sort| Write::add(key(sort), 7));
    table.commit(writes.to_vec()).await.unwrap();
    let found = table.get(&["a", "b", "c", "d"].map(key)).await.unwrap();
    let left: Vec<_> = found.iter().flatten().map(|item| (&*item.body, item.count)).collect();
    assert_eq!(left, [(&b""[..], 7), (b"", 7), (b"old", 7), (b"", 7)]);
    assert!(found.iter().flatten().all(|item| item.expires_at.is_none()));
}

#[tokio::test]
async fn an_unmet_condition_is_told_whatever_has_expired_around_it() {
    let stage = Stage::new();
    let table = stage.table();
    table.commit(vec![Write::put(key("a"), "").expiring(stage.in_millis(1))]).await.unwrap();
    stage.clock.advance(Duration::from_millis(1));
    let writes = vec![
        Write::check(key("x"), Condition::Always),
        Write::add(key("a"), 1),
        Write::put(key("b"), "").when(Condition::Present),
    ];
    assert_eq!(table.commit(writes).await, Err(TableError::Unmet(2)));
    assert_eq!(get_one(&*table, key("a")).await, Ok(None));
}

#[tokio::test]
async fn a_get_may_be_larger_than_one_answer() {
    let stage = Stage::new();
    let table = stage.table();
    let body = Bytes::from(vec![b'x'; 300 * 1024]);
    let keys: Vec<Key> = (0..60).map(|n| key(&n.to_string())).collect();
    for keys in keys.chunks(20) {
        let put =
            |key: &Key| Scatter::Put { key: key.clone(), body: body.clone(), expires_at: None };
        table.scatter(keys.iter().map(put).collect()).await.unwrap();
    }
    let found = table.get(&keys).await.unwrap();
    assert_eq!(found.len(), 60);
    for (key, item) in keys.iter().zip(found) {
        let item = item.unwrap();
        assert_eq!((&item.key, item.body.len()), (key, body.len()));
    }
}

/// A difference of the emulator: DynamoDB takes a hundred.
#[tokio::test]
async fn amazons_local_dynamodb_takes_ten_writes_in_a_transaction() {
    let stage = Stage::new();
    let writes = |count: usize| (0..count).map(|n| Write::put(key(&n.to_string()), "")).collect();
    let table = stage.table();
    table.commit(writes(LOCAL_COMMIT_WRITES_MAX)).await.unwrap();
    let refusal = table.commit(writes(LOCAL_COMMIT_WRITES_MAX + 1)).await;
    assert!(matches!(refusal, Err(TableError::Malformed(_))), "{refusal:?}");
}
