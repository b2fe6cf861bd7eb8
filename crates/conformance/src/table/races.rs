//! Many at the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kernel::table::{Condition, Item, Query, Scatter, Table, TableError, Write, get_one};
use tokio::task::JoinSet;

use super::{Fixture, key, put, scatter_put};

const TASKS: usize = 16;

/// Runs `work` in many tasks at once and gives what they return.
async fn together<T, F>(f: &Fixture, work: impl Fn(Arc<dyn Table>, usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for n in 0..TASKS {
        tasks.spawn(work(Arc::clone(&f.table), n));
    }
    tasks.join_all().await
}

fn number(item: Option<&Item>) -> u64 {
    let body = item.map_or(&b"0"[..], |item| &item.body);
    std::str::from_utf8(body).ok().and_then(|text| text.parse().ok()).expect("a number")
}

pub async fn one_of_many_racing_puts_wins(f: &Fixture) {
    for round in 0..f.rounds {
        let name = format!("name{round}");
        let outcomes = together(f, |table, n| {
            let write = put(&name, &n.to_string()).when(Condition::Absent);
            async move { (n, table.commit(vec![write]).await) }
        })
        .await;
        let (won, lost): (Vec<_>, Vec<_>) =
            outcomes.into_iter().partition(|(_, outcome)| outcome.is_ok());
        assert_eq!(won.len(), 1, "winners of {name}");
        for (_, outcome) in lost {
            assert!(matches!(outcome, Err(TableError::Unmet(0) | TableError::Contended)));
        }
        let item = f.present(key(&name)).await;
        assert_eq!(item.body, won[0].0.to_string());
    }
}

pub async fn counters_lose_no_addition(f: &Fixture) {
    let rounds = f.rounds;
    let outcomes = together(f, |table, n| async move {
        let mut added = 0;
        for round in 0..rounds {
            let own = put(&format!("{n}-{round}"), "").when(Condition::Absent);
            let mut write = table.commit(vec![Write::add(key("counter"), 3), own.clone()]).await;
            while write == Err(TableError::Contended) {
                write = table.commit(vec![Write::add(key("counter"), 3), own.clone()]).await;
            }
            write.expect("the addition is taken");
            added += 3;
        }
        added
    })
    .await;
    let counter = f.present(key("counter")).await;
    assert_eq!(counter.count, outcomes.into_iter().sum::<i64>());
}

pub async fn a_version_lets_one_writer_through(f: &Fixture) {
    f.commit([put("a", "0")]).await;
    let rounds = f.rounds;
    together(f, |table, _| async move {
        let mut done = 0;
        while done < rounds {
            let item = get_one(&*table, key("a")).await.expect("readable").expect("present");
            let next = (number(Some(&item)) + 1).to_string();
            let write = put("a", &next).when(Condition::Version(item.version));
            match table.commit(vec![write]).await {
                Ok(()) => done += 1,
                Err(TableError::Unmet(0) | TableError::Contended) => {}
                Err(other) => panic!("{other}"),
            }
        }
    })
    .await;
    let item = f.present(key("a")).await;
    assert_eq!(number(Some(&item)), u64::try_from(TASKS * f.rounds).expect("a small number"));
}

pub async fn racing_commits_are_whole(f: &Fixture) {
    // Each commit takes a pair of rows from whoever has it; both rows always tell the same owner. A
    // remote table reads without isolation: there a walk may see one row of the next owner, until
    // all have answered.
    let (rounds, isolated) = (f.rounds / 5, f.isolated);
    for _ in 0..5 {
        together(f, |table, n| async move {
            for _ in 0..rounds {
                let owner = n.to_string();
                let writes = vec![put("left", &owner), put("right", &owner)];
                match table.commit(writes).await {
                    Ok(()) | Err(TableError::Contended) => {}
                    Err(other) => panic!("{other}"),
                }
                let pair = table.query(Query::all("p", 10)).await.expect("readable").items;
                assert!(pair.len() <= 2);
                if isolated {
                    assert_eq!(pair.len(), 2);
                    assert_eq!(pair[0].body, pair[1].body, "a query saw half a commit");
                }
            }
        })
        .await;
        let pair = f.query(Query::all("p", 10)).await.items;
        assert_eq!(pair.len(), 2);
        assert_eq!(pair[0].body, pair[1].body, "half a commit was kept");
    }
}

pub async fn a_reader_never_sees_an_item_go_back(f: &Fixture) {
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let (table, stop, reads) = (Arc::clone(&f.table), Arc::clone(&stop), Arc::clone(&reads));
        readers.spawn(async move {
            let mut last = 0;
            while !stop.load(Ordering::Acquire) {
                let seen = number(get_one(&*table, key("a")).await.expect("readable").as_ref());
                assert!(seen >= last, "saw {seen} after {last}");
                last = seen;
                reads.fetch_add(1, Ordering::AcqRel);
                tokio::task::yield_now().await;
            }
        });
    }
    let mut n = 0;
    while n < f.reads || reads.load(Ordering::Acquire) < f.reads {
        n += 1;
        f.commit([put("a", &n.to_string())]).await;
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Release);
    readers.join_all().await;
}

pub async fn a_reader_sees_what_was_answered(f: &Fixture) {
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let answered = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let (table, stop, reads) = (Arc::clone(&f.table), Arc::clone(&stop), Arc::clone(&reads));
        let answered = Arc::clone(&answered);
        readers.spawn(async move {
            while !stop.load(Ordering::Acquire) {
                let least = answered.load(Ordering::Acquire);
                let item = get_one(&*table, key("a")).await.expect("readable");
                assert!(number(item.as_ref()) >= least, "an answered write is missing");
                let found = table.query(Query::all("p", 1)).await.expect("readable");
                assert!(number(found.items.first()) >= least, "a query misses a write");
                reads.fetch_add(1, Ordering::AcqRel);
                tokio::task::yield_now().await;
            }
        });
    }
    let mut n = 0;
    while n < f.reads || reads.load(Ordering::Acquire) < f.reads {
        n += 1;
        if n % 3 == 0 {
            f.scatter([scatter_put("a", &n.to_string())]).await;
        } else {
            f.commit([put("a", &n.to_string())]).await;
        }
        answered.store(n, Ordering::Release);
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Release);
    readers.join_all().await;
}

pub async fn commits_and_scatters_do_not_lose_each_other(f: &Fixture) {
    let rounds = f.rounds;
    together(f, |table, n| async move {
        for round in 0..rounds {
            if n % 2 == 0 {
                let rows: Vec<Scatter> =
                    (0..20).map(|row| scatter_put(&format!("{n}-{round}-{row}"), "")).collect();
                table.scatter(rows).await.expect("the scatter is taken");
            } else {
                let writes = vec![put(&format!("{n}-{round}"), "")];
                table.commit(writes).await.expect("the commit is taken");
            }
        }
    })
    .await;
    let mut seen = 0;
    let mut query = Query::all("p", 1000);
    loop {
        let page = f.query(query.clone()).await;
        seen += page.items.len();
        let Some(next) = page.next else { break };
        query = query.above(next);
    }
    assert_eq!(seen, TASKS / 2 * f.rounds * 21);
}
