//! Refusals: throttling, contention, what is left undone, expired credentials, limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws::dynamodb::DynamoTable;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use kernel::clock::SystemClock;
use kernel::table::{Condition, Key, Query, Scatter, Table, TableError, Write};
use kernel::{Code, Problem};
use serde_json::{Value, json};

use crate::bed;
use crate::server::{Reply, Request, Server};
use crate::stage::{Stage, client_at};

fn key(sort: &str) -> Key {
    Key::new("p", sort)
}

fn table(server: &Server) -> DynamoTable {
    let client = client_at(&bed::sdk(), &server.url);
    DynamoTable::new(client, "t", Arc::new(SystemClock))
}

fn one() -> Vec<Write> {
    vec![Write::add(key("a"), 1)]
}

fn two() -> Vec<Write> {
    vec![Write::add(key("a"), 1), Write::put(key("b"), "").when(Condition::Absent)]
}

fn rows(count: usize) -> Vec<Scatter> {
    let row =
        |n: usize| Scatter::Put { key: key(&n.to_string()), body: "x".into(), expires_at: None };
    (0..count).map(row).collect()
}

/// What each kind of call is answered.
async fn answers(table: &DynamoTable) -> Vec<TableError> {
    vec![
        table.get(&[key("a")]).await.expect_err("refused"),
        table.get(&[key("a"), key("b")]).await.expect_err("refused"),
        table.query(Query::all("p", 1)).await.expect_err("refused"),
        table.commit(one()).await.expect_err("refused"),
        table.commit(two()).await.expect_err("refused"),
        table.scatter(rows(1)).await.expect_err("refused"),
    ]
}

#[tokio::test]
async fn throttling_is_tried_again_and_then_told() {
    for code in
        ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"]
    {
        let server = Server::start(move |_, _| Reply::error(code)).await;
        for error in answers(&table(&server)).await {
            assert_eq!(error, TableError::Throttled);
            assert_eq!(Problem::from(error).code, Code::Unavailable);
        }
        assert_eq!(server.count(), 6 * 3, "attempts");
    }
}

#[tokio::test]
async fn a_short_throttling_is_ridden_out() {
    let stage = Stage::new();
    let server = Server::start(|_, before| match before % 3 {
        2 => Reply::Pass,
        _ => Reply::error("ThrottlingException"),
    })
    .await;
    let table = stage.table_at(client_at(&bed::sdk(), &server.url));
    table.commit(one()).await.unwrap();
    table.commit(two()).await.unwrap();
    table.scatter(rows(3)).await.unwrap();
    assert_eq!(table.get(&[key("a")]).await.unwrap()[0].as_ref().unwrap().count, 2);
    assert_eq!(table.query(Query::all("p", 9)).await.unwrap().items.len(), 5);
}

#[tokio::test]
async fn a_transaction_that_is_throttled_inside_is_tried_again() {
    for code in ["ThrottlingError", "ProvisionedThroughputExceeded"] {
        let server = Server::start(move |_, before| match before {
            0 => Reply::cancelled(&["None", code]),
            _ => Reply::ok(&json!({})),
        })
        .await;
        table(&server).commit(two()).await.unwrap();
        let server = Server::start(move |_, _| Reply::cancelled(&["None", code])).await;
        assert_eq!(table(&server).commit(two()).await, Err(TableError::Throttled));
    }
}

#[tokio::test]
async fn contention_is_tried_again_and_then_told() {
    let conflict = |request: &Request| match &*request.operation {
        "TransactWriteItems" => Reply::cancelled(&["None", "TransactionConflict"]),
        _ => Reply::error("TransactionConflictException"),
    };
    let server = Server::start(move |request, before| match before % 3 {
        2 => Reply::ok(&json!({})),
        _ => conflict(request),
    })
    .await;
    table(&server).commit(one()).await.unwrap();
    table(&server).commit(two()).await.unwrap();
    let server = Server::start(move |request, _| conflict(request)).await;
    assert_eq!(table(&server).commit(one()).await, Err(TableError::Contended));
    assert_eq!(table(&server).commit(two()).await, Err(TableError::Contended));
}

#[tokio::test]
async fn the_first_reason_decides_why_a_transaction_was_cancelled() {
    let writes = || {
        vec![
            Write::check(key("nothing"), Condition::Always),
            Write::put(key("a"), "").when(Condition::Absent),
            Write::check(key("b"), Condition::Present),
            Write::put(key("c"), "").when(Condition::Version(3)),
        ]
    };
    let (failed, conflict) = ("ConditionalCheckFailed", "TransactionConflict");
    for (reasons, expected) in [
        (["None", failed, "None"], TableError::Unmet(2)),
        (["None", failed, failed], TableError::Unmet(2)),
        ([failed, conflict, "None"], TableError::Unmet(1)),
        ([conflict, failed, "None"], TableError::Contended),
        (["None", "ThrottlingError", failed], TableError::Throttled),
        (["ValidationError", failed, "None"], TableError::Malformed("ValidationError: ".into())),
    ] {
        let server = Server::start(move |_, _| Reply::cancelled(&reasons)).await;
        assert_eq!(table(&server).commit(writes()).await, Err(expected), "{reasons:?}");
    }
    let server = Server::start(|_, _| Reply::cancelled(&[])).await;
    let error = table(&server).commit(writes()).await.unwrap_err();
    assert!(matches!(error, TableError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_commit_of_a_hundred_writes_is_one_transaction() {
    let server = Server::start(|_, _| Reply::ok(&json!({}))).await;
    let writes = (0..100).map(|n| Write::put(key(&n.to_string()), "x"));
    table(&server).commit(writes.collect()).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen.len(), &*seen[0].operation), (1, "TransactWriteItems"));
    assert_eq!(seen[0].body["TransactItems"].as_array().unwrap().len(), 100);
    let token = seen[0].body["ClientRequestToken"].as_str().unwrap();
    assert!((20..=36).contains(&token.len()), "{token}");
}

/// Answers all but the first of what a batch asks as left undone.
fn undone(request: &Request) -> Value {
    let mut left = request.body["RequestItems"].clone();
    let wanted = match &*request.operation {
        "BatchGetItem" => &mut left["t"]["Keys"],
        _ => &mut left["t"],
    };
    wanted.as_array_mut().expect("a list").remove(0);
    if wanted.as_array().expect("a list").is_empty() { json!({}) } else { left }
}

#[tokio::test]
async fn unprocessed_keys_are_asked_for_again() {
    let server = Server::start(|request, _| {
        let mut item = request.body["RequestItems"]["t"]["Keys"][0].clone();
        item["v"] = json!({"N": "4"});
        Reply::ok(&json!({"Responses": {"t": [item]}, "UnprocessedKeys": undone(request)}))
    })
    .await;
    let keys = ["a", "b", "c", "a"].map(key);
    let found = table(&server).get(&keys).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|item| item.unwrap().key).collect();
    assert_eq!(found, keys);
    assert_eq!(server.count(), 3);
    assert!(
        server.seen().iter().all(|seen| seen.body["RequestItems"]["t"]["ConsistentRead"] == true)
    );
}

#[tokio::test]
async fn keys_that_stay_unprocessed_are_told_as_throttling() {
    let server = Server::start(|request, _| {
        Reply::ok(&json!({"Responses": {}, "UnprocessedKeys": request.body["RequestItems"]}))
    })
    .await;
    let error = table(&server).get(&[key("a"), key("b")]).await;
    assert_eq!(error, Err(TableError::Throttled));
    assert_eq!(server.count(), 8);
}

#[tokio::test]
async fn unprocessed_items_are_written_again() {
    let server =
        Server::start(|request, _| Reply::ok(&json!({"UnprocessedItems": undone(request)}))).await;
    table(&server).scatter(rows(4)).await.unwrap();
    let written =
        |seen: Request| seen.body["RequestItems"]["t"][0]["PutRequest"]["Item"]["sk"].clone();
    let written: Vec<_> = server.seen().into_iter().map(written).collect();
    assert_eq!(written, [".0", ".1", ".2", ".3"].map(|sort| json!({"S": sort})));
}

#[tokio::test]
async fn items_that_stay_unprocessed_are_told_as_what_they_leave_behind() {
    let all = |request: &Request| json!({"UnprocessedItems": request.body["RequestItems"]});
    let server = Server::start(move |request, _| Reply::ok(&all(request))).await;
    assert_eq!(table(&server).scatter(rows(2)).await, Err(TableError::Throttled));
    let server = Server::start(move |request, before| match before {
        0 => Reply::ok(&json!({"UnprocessedItems": undone(request)})),
        _ => Reply::ok(&all(request)),
    })
    .await;
    let error = table(&server).scatter(rows(2)).await.unwrap_err();
    assert!(matches!(error, TableError::Unavailable(_)), "some of it is written: {error:?}");
    let server = Server::start(move |request, _| Reply::ok(&all(request))).await;
    let error = table(&server).scatter(rows(26)).await.unwrap_err();
    assert!(matches!(error, TableError::Unavailable(_)), "some of it may be: {error:?}");
}

/// Gives another key each time it is asked.
#[derive(Debug, Default)]
struct Changing(AtomicUsize);

impl ProvideCredentials for Changing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let id = format!("key{}", self.0.fetch_add(1, Ordering::SeqCst));
        future::ProvideCredentials::ready(Ok(Credentials::new(id, "test", None, None, "changing")))
    }
}

#[tokio::test]
async fn credentials_that_are_called_expired_are_fetched_anew_at_once() {
    for code in ["ExpiredTokenException", "ExpiredToken"] {
        let server = Server::start(move |request, _| {
            match request.header("authorization").contains("Credential=key0/") {
                true => Reply::error(code),
                false => Reply::ok(&json!({})),
            }
        })
        .await;
        let credentials = SharedCredentialsProvider::new(Changing::default());
        let sdk = bed::sdk().into_builder().credentials_provider(credentials).build();
        let client = client_at(&sdk, &server.url);
        let table = DynamoTable::new(client, "t", Arc::new(SystemClock));
        table.commit(one()).await.unwrap();
        table.commit(two()).await.unwrap();
        let signed = |seen: &Request| seen.header("authorization").contains("Credential=key1/");
        let signed: Vec<_> = server.seen().iter().map(signed).collect();
        assert_eq!(signed, [false, true, true], "the new ones are kept");
    }
}

#[tokio::test]
async fn credentials_that_stay_expired_are_told_as_unavailable() {
    let server = Server::start(|_, _| Reply::error("ExpiredTokenException")).await;
    for error in answers(&table(&server)).await {
        assert!(matches!(&error, TableError::Unavailable(_)), "{error:?}");
    }
    assert_eq!(server.count(), 6 * 3, "attempts");
}

#[tokio::test]
async fn other_refusals_are_told_by_whose_fault_they_are() {
    let server = Server::start(|_, _| Reply::error("ValidationException")).await;
    for error in answers(&table(&server)).await {
        assert!(matches!(&error, TableError::Malformed(_)), "{error:?}");
    }
    for code in ["ResourceNotFoundException", "AccessDeniedException", "SomethingNew"] {
        let server = Server::start(move |_, _| Reply::error(code)).await;
        for error in answers(&table(&server)).await {
            let told = matches!(&error, TableError::Unavailable(cause) if cause.contains(code));
            assert!(told || code != "SomethingNew", "{error:?}");
            assert!(matches!(&error, TableError::Unavailable(_)), "{error:?}");
        }
        assert_eq!(server.count(), 6, "none is tried again");
    }
}
