//! What the relay hears of commits.

use std::sync::Arc;
use std::time::Duration;

use aws::dynamodb::DynamoTable;
use conformance::{SeededIds, TestClock};
use kernel::event::DeletedUser;
use kernel::outbox::{self, OutboxStream, Told};
use kernel::table::{Condition, Key, Table, TableError, Write};
use kernel::{Event, EventData, UserId};
use tokio::time::timeout;

use crate::bed;
use crate::server::{Reply, Server};
use crate::stage::{Stage, client_at};

fn event() -> Event {
    let clock = TestClock::new();
    let ids = SeededIds::new(clock.clone(), 1);
    let nobody = DeletedUser { user_id: UserId(ulid::Ulid(1)) };
    Event::new(&*ids, &*clock, EventData::UserDeleted(nobody))
}

/// A commit that tells `event`, if the item is absent.
fn telling(event: &Event) -> Vec<Write> {
    let write = Write::put(Key::new("p", "a"), "x").when(Condition::Absent);
    vec![write, outbox::write(event)]
}

fn table(stage: &Stage, server: &Server) -> (DynamoTable, OutboxStream) {
    let (sender, stream) = outbox::stream(10);
    (stage.table_at(client_at(&bed::sdk(), &server.url)).telling(sender), stream)
}

/// What is in the stream now.
async fn told(stream: &mut OutboxStream) -> Option<Told> {
    timeout(Duration::from_millis(100), stream.next(10)).await.ok()
}

#[tokio::test]
async fn committed_rows_are_handed_on_and_refused_ones_are_not() {
    let (stage, server) = (Stage::new(), Server::start(|_, _| Reply::Pass).await);
    let (table, mut stream) = table(&stage, &server);
    let event = event();
    table.commit(telling(&event)).await.unwrap();
    let Some(Told::Events(events)) = told(&mut stream).await else { panic!("nothing was told") };
    assert_eq!(events, std::slice::from_ref(&event));
    let refused = table.commit(telling(&event)).await;
    assert_eq!(refused, Err(TableError::Unmet(0)));
    assert!(told(&mut stream).await.is_none());
}

#[tokio::test]
async fn the_relay_looks_where_nobody_knows_what_became_of_a_commit() {
    let (stage, server) = (Stage::new(), Server::start(|_, _| Reply::internal()).await);
    let (table, mut stream) = table(&stage, &server);
    let other = table.commit(vec![Write::put(Key::new("p", "b"), "x")]).await;
    assert!(matches!(other, Err(TableError::Unavailable(_))));
    assert!(told(&mut stream).await.is_none(), "it would have told nothing");
    let unknown = table.commit(telling(&event())).await;
    assert!(matches!(unknown, Err(TableError::Unavailable(_))));
    assert!(matches!(told(&mut stream).await, Some(Told::Missed)));
}

#[tokio::test]
async fn the_relay_looks_where_an_asker_went_away() {
    let (stage, server) = (Stage::new(), Server::start(|_, _| Reply::Hang).await);
    let (table, mut stream) = table(&stage, &server);
    let table: Arc<dyn Table> = Arc::new(table);
    let asked = tokio::spawn({
        let table = Arc::clone(&table);
        async move { table.commit(telling(&event())).await }
    });
    while server.count() == 0 {
        tokio::task::yield_now().await;
    }
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    assert!(matches!(told(&mut stream).await, Some(Told::Missed)));
}
