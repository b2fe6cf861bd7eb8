//! A table in a crowd: commits overtake each other, and go on when their askers have gone away.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use async_trait::async_trait;
use kernel::sequence::Ticket;
use kernel::table::{Item, Items, Key, Query, Scatter, Table, TableError, Write};

/// Any table, with commits that take turns of their own.
pub struct Jostling {
    inner: Arc<dyn Table>,
    commits: AtomicUsize,
}

impl Jostling {
    /// `inner` in a crowd.
    pub fn new(inner: Arc<dyn Table>) -> Arc<Self> {
        Arc::new(Self { inner, commits: AtomicUsize::new(0) })
    }

    async fn commit_holding(
        &self,
        writes: Vec<Write>,
        held: Option<Ticket>,
    ) -> Result<(), TableError> {
        let commit = self.commits.fetch_add(1, Ordering::Relaxed);
        let table = Arc::clone(&self.inner);
        let going_on = tokio::spawn(async move {
            for _ in 0..(commit * 7) % 11 {
                tokio::task::yield_now().await;
            }
            let outcome = table.commit(writes).await;
            drop(held);
            outcome
        });
        going_on.await.expect("a commit ends")
    }
}

#[async_trait]
impl Table for Jostling {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        self.inner.get(keys).await
    }

    async fn query(&self, query: Query) -> Result<Items, TableError> {
        self.inner.query(query).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), TableError> {
        self.commit_holding(writes, None).await
    }

    async fn commit_ordered(&self, writes: Vec<Write>, ticket: &Ticket) -> Result<(), TableError> {
        self.commit_holding(writes, Some(ticket.clone())).await
    }

    async fn scatter(&self, writes: Vec<Scatter>) -> Result<(), TableError> {
        self.inner.scatter(writes).await
    }
}

/// Begins `work`, and goes away in the midst of it.
pub async fn begin(work: impl Future, polls: usize) {
    let mut work = pin!(work);
    for _ in 0..polls {
        let polled = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        if polled.is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}
