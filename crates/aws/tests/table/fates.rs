//! Answers that do not come, or that nobody can read: what was written, and what is said of it.

use std::sync::Arc;
use std::time::Duration;

use aws::dynamodb::DynamoTable;
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use conformance::SeededIds;
use kernel::sequence::Sequence;
use kernel::table::{Condition, Key, Query, Scatter, Table, TableError, Write, get_one};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bed;
use crate::server::{Reply, Request, Server};
use crate::stage::{Stage, client_at};

fn key(sort: &str) -> Key {
    Key::new("p", sort)
}

/// Waits so long for each attempt.
fn waiting(attempt_millis: u64) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_millis(attempt_millis))
        .operation_timeout(Duration::from_mins(1))
        .build();
    bed::sdk().into_builder().timeout_config(timeouts).build()
}

fn table(stage: &Stage, server: &Server) -> DynamoTable {
    stage.table_at(client_at(&bed::sdk(), &server.url))
}

fn is_unavailable<T: std::fmt::Debug>(answer: &Result<T, TableError>) -> bool {
    matches!(answer, Err(TableError::Unavailable(_)))
}

fn add() -> Vec<Write> {
    vec![Write::add(key("a"), 1)]
}

fn add_and_put() -> Vec<Write> {
    vec![Write::add(key("a"), 1), Write::put(key("b"), "").when(Condition::Absent)]
}

/// The first of each operation is answered by `first`, the others are passed on.
async fn first(first: impl Fn() -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |_, before| if before == 0 { first() } else { Reply::Pass }).await
}

#[tokio::test]
async fn a_single_write_whose_answer_is_lost_happens_once() {
    let stage = Stage::new();
    let server = first(|| Reply::Lose).await;
    assert!(is_unavailable(&table(&stage, &server).commit(add()).await));
    assert_eq!(server.count(), 1, "it must not be repeated");
    let item = get_one(&*stage.table(), key("a")).await.unwrap().unwrap();
    assert_eq!(item.count, 1);
}

#[tokio::test]
async fn a_transaction_whose_answer_is_lost_is_repeated_and_happens_once() {
    let stage = Stage::new();
    let server = first(|| Reply::Lose).await;
    table(&stage, &server).commit(add_and_put()).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body["ClientRequestToken"], seen[1].body["ClientRequestToken"]);
    let item = get_one(&*stage.table(), key("a")).await.unwrap().unwrap();
    assert_eq!(item.count, 1);
}

#[tokio::test]
async fn reads_and_scatters_are_repeated_when_an_answer_is_lost() {
    let stage = Stage::new();
    let server = first(|| Reply::Lose).await;
    let row = Scatter::Put { key: key("a"), body: "x".into(), expires_at: None };
    table(&stage, &server).scatter(vec![row]).await.unwrap();
    assert_eq!(server.count(), 2);
    let server = first(Reply::internal).await;
    assert!(get_one(&table(&stage, &server), key("a")).await.unwrap().is_some());
    let server = Server::start(|_, before| match before {
        0 => Reply::Hang,
        _ => Reply::ok(&json!({"Items": [], "Count": 0, "ScannedCount": 0})),
    })
    .await;
    let table = stage.table_at(client_at(&waiting(1000), &server.url));
    assert!(table.query(Query::all("p", 9)).await.unwrap().items.is_empty());
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn failures_of_theirs_leave_a_commit_uncertain() {
    for reply in [Reply::internal, || Reply::Hang, || Reply::Answer(200, "<html>".to_owned())] {
        let stage = Stage::new();
        let server = Server::start(move |_, _| reply()).await;
        let table = stage.table_at(client_at(&waiting(200), &server.url));
        assert!(is_unavailable(&table.commit(add()).await));
        assert_eq!(server.count(), 1, "a single write must not be repeated");
        assert!(is_unavailable(&table.commit(add_and_put()).await));
        assert!(is_unavailable(&table.get(&[key("a")]).await));
        assert!(is_unavailable(&table.query(Query::all("p", 1)).await));
    }
}

/// One write and many go different ways.
#[tokio::test]
async fn a_row_whose_asker_went_away_is_in_flight_until_it_is_there() {
    for more in [None, Some(Write::add(key("count"), 1))] {
        let (stage, told) = (Stage::new(), Arc::new(Notify::new()));
        let late = Arc::clone(&told);
        let server = first(move || Reply::Late(Arc::clone(&late))).await;
        let sequence = Sequence::new(SeededIds::new(stage.clock.clone(), 1));
        let ticket = sequence.take();
        let (id, row) = (ticket.id(), key(&ticket.id().to_string()));
        let asking = tokio::spawn({
            let (table, put) = (table(&stage, &server), Write::put(row.clone(), ""));
            let writes = [put].into_iter().chain(more).collect();
            async move { table.commit_ordered(writes, &ticket).await }
        });
        while server.count() == 0 {
            tokio::task::yield_now().await;
        }
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());

        assert!(sequence.settled().await < id, "a reader would pass it");
        assert!(get_one(&*stage.table(), row.clone()).await.unwrap().is_none());
        told.notify_one();
        while sequence.settled().await < id {}
        assert!(get_one(&*stage.table(), row).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn what_is_refused_after_an_uncertain_attempt_is_uncertain() {
    for code in ["ConditionalCheckFailed", "TransactionConflict", "ThrottlingError"] {
        let stage = Stage::new();
        let server = Server::start(move |_, before| match before {
            0 => Reply::internal(),
            _ => Reply::cancelled(&["None", code]),
        })
        .await;
        assert!(is_unavailable(&table(&stage, &server).commit(add_and_put()).await), "{code}");
        assert_eq!(server.count(), 2);
    }
}

#[tokio::test]
async fn a_transaction_that_is_still_under_way_is_waited_for() {
    let stage = Stage::new();
    let server = first(|| Reply::error("TransactionInProgressException")).await;
    table(&stage, &server).commit(add_and_put()).await.unwrap();
    let server = Server::start(|_, _| Reply::error("TransactionInProgressException")).await;
    assert!(is_unavailable(&table(&stage, &server).commit(add_and_put()).await));
    let tokens = server.seen().into_iter().map(|seen| seen.body["ClientRequestToken"].clone());
    let tokens: std::collections::HashSet<_> = tokens.map(|token| token.to_string()).collect();
    assert_eq!(tokens.len(), 1);
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let stage = Stage::new();
    let nobody = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let table = stage.table_at(client_at(&bed::sdk(), &nobody));
    assert!(is_unavailable(&table.commit(add()).await));
    assert!(is_unavailable(&table.commit(add_and_put()).await));
    assert!(is_unavailable(&table.get(&[key("a"), key("b")]).await));
}

#[tokio::test]
async fn items_of_another_shape_are_malformed() {
    let stage = Stage::new();
    let item = json!({"pk": {"S": "p"}, "sk": {"S": ".a"}, "v": {"S": "one"}});
    let body = json!({"Item": item, "Items": [item], "Count": 1, "ScannedCount": 1});
    let server = Server::start(move |_, _| Reply::ok(&body)).await;
    let table = table(&stage, &server);
    let error = table.get(&[key("a")]).await.unwrap_err();
    assert!(matches!(error, TableError::Malformed(_)), "{error:?}");
    let error = table.query(Query::all("p", 1)).await.unwrap_err();
    assert!(matches!(error, TableError::Malformed(_)), "{error:?}");
}

/// Ten seconds in which DynamoDB takes nothing, while callers go on: what it said yes to is there,
/// what it throttled is not, and afterwards all is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_seconds_of_throttling_lose_nothing_that_was_acknowledged() {
    let stage = Arc::new(Stage::new());
    let began = Instant::now();
    let throttled = move || (1..11).contains(&began.elapsed().as_secs());
    let server = Server::start(move |request: &Request, before| match &*request.operation {
        _ if !throttled() => Reply::Pass,
        "TransactWriteItems" if before % 2 == 0 => {
            Reply::cancelled(&["ThrottlingError", "ThrottlingError"])
        }
        _ => Reply::error("ProvisionedThroughputExceededException"),
    })
    .await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..4 {
        let table = table(&stage, &server);
        callers.spawn(async move {
            let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
            for n in 0.. {
                let sort = format!("{caller}-{n:05}");
                let mut writes = vec![Write::put(key(&sort), "x").when(Condition::Absent)];
                if n % 2 == 0 {
                    writes.push(Write::add(Key::new("count", caller.to_string()), 1));
                }
                match table.commit(writes).await {
                    Ok(()) => acknowledged.push(sort),
                    Err(TableError::Throttled) => refused.push(sort),
                    Err(other) => panic!("{other}"),
                }
                if began.elapsed() > Duration::from_secs(13) {
                    break;
                }
            }
            (acknowledged, refused)
        });
    }
    let outcomes = callers.join_all().await;
    let table = stage.table();
    let mut refusals = 0;
    for (caller, (acknowledged, refused)) in outcomes.into_iter().enumerate() {
        let owner = acknowledged[0].split('-').next().unwrap().to_owned();
        let counted = acknowledged.iter().filter(|sort| sort.ends_with(['0', '2', '4', '6', '8']));
        let counted = i64::try_from(counted.count()).unwrap();
        for keys in acknowledged.chunks(100) {
            let keys: Vec<_> = keys.iter().map(|sort| key(sort)).collect();
            assert!(table.get(&keys).await.unwrap().iter().all(Option::is_some), "caller {caller}");
        }
        for keys in refused.chunks(100) {
            let keys: Vec<_> = keys.iter().map(|sort| key(sort)).collect();
            assert!(table.get(&keys).await.unwrap().iter().all(Option::is_none), "caller {caller}");
        }
        let count = get_one(&*table, Key::new("count", owner)).await.unwrap().unwrap();
        assert_eq!(count.count, counted);
        refusals += refused.len();
    }
    assert!(refusals > 0, "nobody was throttled");
}
