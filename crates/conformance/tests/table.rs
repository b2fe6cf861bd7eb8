//! The suite on the oracle itself, and on a faulty table that is asked again.

mod oracle {
    use conformance::table::Fixture;
    use conformance::{Oracle, TestClock, table_suite};

    fn make() -> Fixture {
        let clock = TestClock::new();
        Fixture::new(Oracle::new(clock.clone()), clock)
    }

    table_suite!(make);
}

mod faulty {
    use conformance::faulty::{Faults, Faulty, Patient};
    use conformance::table::Fixture;
    use conformance::{Oracle, TestClock, table_suite};

    fn make() -> Fixture {
        let clock = TestClock::new();
        let oracle = Oracle::new(clock.clone());
        let faults = Faults { partial_permille: 200, ..Faults::retryable(100) };
        Fixture::new(Patient::new(Faulty::new(oracle, faults, 7)), clock)
    }

    table_suite!(make);
}

use std::sync::Arc;

use conformance::faulty::{Faults, Faulty};
use conformance::{Oracle, TestClock};
use kernel::table::{Key, Query, Scatter, Table, TableError, Write, get_one};

fn rows(count: usize) -> Vec<Scatter> {
    let row =
        |n| Scatter::Put { key: Key::new("p", format!("{n}")), body: "x".into(), expires_at: None };
    (0..count).map(row).collect()
}

#[tokio::test]
async fn without_faults_it_is_the_table_itself() {
    let faulty = Faulty::new(Oracle::new(TestClock::new()), Faults::default(), 1);
    for n in 0..100 {
        faulty.commit(vec![Write::put(Key::new("p", format!("{n}")), "")]).await.unwrap();
    }
    assert_eq!(faulty.query(Query::all("p", 1000)).await.unwrap().items.len(), 100);
    assert_eq!(faulty.happened(), 0);
}

#[tokio::test]
async fn after_an_unavailable_commit_either_all_or_nothing_is_there() {
    let oracle = Oracle::new(TestClock::new());
    let faulty = Faulty::new(oracle.clone(), Faults::all(200), 3);
    let (mut lost, mut never) = (0, 0);
    for n in 0..500 {
        let key = |side| Key::new(side, format!("{n}"));
        let outcome = faulty.commit(vec![Write::put(key("l"), ""), Write::put(key("r"), "")]).await;
        let left = get_one(&*oracle, key("l")).await.unwrap();
        let right = get_one(&*oracle, key("r")).await.unwrap();
        assert_eq!(left.is_some(), right.is_some());
        match outcome {
            Ok(()) => assert!(left.is_some()),
            Err(TableError::Unavailable(_)) if left.is_some() => lost += 1,
            Err(TableError::Unavailable(_)) => never += 1,
            Err(_) => assert!(left.is_none()),
        }
    }
    assert!(lost > 20 && never > 20, "{lost} answers lost, {never} commits never done");
}

#[tokio::test]
async fn a_partial_scatter_leaves_some_and_says_so() {
    let oracle = Oracle::new(TestClock::new());
    let faults = Faults { partial_permille: 1000, ..Faults::default() };
    let faulty = Faulty::new(oracle.clone(), faults, 3);
    assert_eq!(faulty.scatter(rows(10)).await, Err(TableError::Contended));
    assert_eq!(oracle.query(Query::all("p", 100)).await.unwrap().items.len(), 5);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_day() {
    let day = async |seed| {
        let faulty: Arc<Faulty> =
            Faulty::new(Oracle::new(TestClock::new()), Faults::all(100), seed);
        let mut answers = Vec::new();
        for _ in 0..100 {
            answers.push(faulty.scatter(rows(4)).await);
        }
        answers
    };
    assert_eq!(day(5).await, day(5).await);
    assert_ne!(day(5).await, day(6).await);
}
