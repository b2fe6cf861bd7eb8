use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use conformance::faulty::{Faults, Faulty};
use conformance::{Oracle, TestClock};
use kernel::table::{Items, Query};
use proptest::prelude::*;

use super::*;

const LASTS: Duration = Duration::from_secs(3);

fn lease(me: u128, table: &Arc<dyn Table>, clock: &Arc<TestClock>) -> Lease {
    Lease::new(LASTS, Ulid(me), Arc::clone(table), clock.clone())
}

fn two() -> (Arc<TestClock>, Arc<dyn Table>, Lease, Lease) {
    let clock = TestClock::new();
    let table: Arc<dyn Table> = Oracle::new(clock.clone());
    let (a, b) = (lease(1, &table, &clock), lease(2, &table, &clock));
    (clock, table, a, b)
}

fn row(at: &str) -> Vec<Scatter> {
    let (key, body) = (Key::new("row", at), "".into());
    vec![Scatter::Put { key, body, expires_at: None }]
}

#[tokio::test(start_paused = true)]
async fn numbers_grow_from_process_to_process_and_all_see_what_each_has_shown() {
    let (clock, _, a, b) = two();
    let mut last = a.visible().await.unwrap();
    assert_eq!(b.visible().await.unwrap(), last);
    for round in 0..20 {
        let lease = if round % 3 == 0 { &a } else { &b };
        let mut held = lease.take().await.unwrap();
        let number = lease.next(&mut held);
        assert!(number > last);
        assert_eq!(a.visible().await.unwrap(), last, "not shown yet");
        lease.show(&mut held).await.unwrap();
        lease.end(&mut held).await;
        last = number;
        assert_eq!((a.visible().await.unwrap(), b.visible().await.unwrap()), (last, last));
        clock.advance(Duration::from_millis(round % 2));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_gets_it_when_it_is_let_go_and_is_refused_when_time_is_over() {
    let (_, _, a, b) = two();
    let mut held = a.take().await.unwrap();
    let begun = Instant::now();
    assert_eq!(b.take().await.err().unwrap().code, Code::Unavailable);
    assert!(begun.elapsed() < LASTS * 2, "before its own caller gives up");
    let letting_go = async {
        sleep(Duration::from_secs(1)).await;
        a.end(&mut held).await;
    };
    let (taken, ()) = tokio::join!(b.take(), letting_go);
    assert!(taken.is_ok());
}

#[tokio::test(start_paused = true)]
async fn it_is_kept_while_more_is_to_be_done_but_not_for_long() {
    let (_, _, a, b) = two();
    a.in_one_go(async {
        for _ in 0..3 {
            let mut held = a.take().await.unwrap();
            a.end(&mut held).await;
            assert!(b.try_take().await.unwrap().is_none(), "it is kept");
        }
        let mut held = a.take().await.unwrap();
        sleep(LASTS / 6).await;
        a.end(&mut held).await;
        drop(held);
        let (here, there) = tokio::join!(
            async {
                drop(a.take().await.unwrap());
                Instant::now()
            },
            async {
                let mut held = b.take().await.unwrap();
                b.end(&mut held).await;
                Instant::now()
            }
        );
        assert!(there < here, "others come first");
    })
    .await;
    assert!(b.try_take().await.unwrap().is_some(), "nothing more is to be done");
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_is_succeeded_above_all_that_it_may_have_given() {
    let (clock, _, a, b) = two();
    let mut dead = a.take().await.unwrap();
    let shown = a.next(&mut dead);
    a.show(&mut dead).await.unwrap();
    let given = a.next(&mut dead);
    clock.advance(LASTS + LASTS / 3 - Duration::from_millis(1));
    assert!(b.try_take().await.unwrap().is_none(), "its clock may be behind ours");
    clock.advance(Duration::from_millis(1));
    let mut held = b.take().await.unwrap();
    assert!(b.next(&mut held) > given);
    assert_eq!(b.visible().await.unwrap(), shown);
    b.show(&mut held).await.unwrap();
    // It was only asleep.
    let seen = b.visible().await.unwrap();
    assert!(a.write(&mut dead, row("late")).await.is_err());
    assert!(a.show(&mut dead).await.is_err());
    assert!(get_one(&*a.table, Key::new("row", "late")).await.unwrap().is_none());
    assert_eq!(a.visible().await.unwrap(), seen);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ran_out_goes_on_where_nobody_took_it() {
    let (clock, _, a, b) = two();
    let mut held = a.take().await.unwrap();
    clock.advance(LASTS * 10);
    let number = a.next(&mut held);
    a.write(&mut held, row("1")).await.unwrap();
    a.show(&mut held).await.unwrap();
    assert_eq!(b.visible().await.unwrap(), number);
    assert!(b.try_take().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_broken_off_does_not_keep_its_own_process_waiting() {
    let (_, table, a, _) = two();
    drop(a.take().await.unwrap());
    drop(a.take().await.unwrap());
    // Its row is there and it does not know: the commit's answer was lost.
    *a.held.lock().await = Held::default();
    drop(a.take().await.unwrap());
    assert!(get_one(&*table, key()).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_term_that_others_may_have_followed_is_not_gone_on_with() {
    let (clock, table, a, mut b) = two();
    drop(b.take().await.unwrap());
    clock.advance(LASTS * 2);
    let mut held = a.take().await.unwrap();
    let given = a.next(&mut held);
    a.end(&mut held).await;
    drop(held);
    let faults = Faults { unavailable_permille: 1000, ..Faults::default() };
    b.table = Faulty::new(Arc::clone(&table), faults, 0);
    assert!(b.take().await.is_err());
    b.table = table;
    assert!(b.try_take().await.unwrap().is_some(), "it is taken, and the answer lost");
    let mut held = b.take().await.unwrap();
    assert!(b.next(&mut held) > given);
}

/// A table whose commits and scatters take their time.
struct Slow {
    table: Arc<dyn Table>,
    clock: Arc<TestClock>,
    commit_millis: AtomicU64,
    scatter_millis: u64,
}

impl Slow {
    fn new(scatter_millis: u64) -> Arc<Self> {
        let clock = TestClock::new();
        let (table, commit_millis) = (Oracle::new(clock.clone()), AtomicU64::default());
        Arc::new(Self { table, clock, commit_millis, scatter_millis })
    }

    async fn pass(&self, millis: u64) {
        for _ in 0..millis / 100 {
            sleep(Duration::from_millis(100)).await;
            self.clock.advance(Duration::from_millis(100));
        }
    }
}

#[async_trait]
impl Table for Slow {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        self.table.get(keys).await
    }

    async fn query(&self, query: Query) -> Result<Items, TableError> {
        self.table.query(query).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), TableError> {
        self.pass(self.commit_millis.load(Ordering::Acquire)).await;
        self.table.commit(writes).await
    }

    async fn scatter(&self, writes: Vec<Scatter>) -> Result<(), TableError> {
        self.pass(self.scatter_millis).await;
        self.table.scatter(writes).await
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_while_rows_are_being_written() {
    let slow = Slow::new(60_000);
    let table: Arc<dyn Table> = slow.clone();
    let (a, b) = (lease(1, &table, &slow.clock), lease(2, &table, &slow.clock));
    let mut held = a.take().await.unwrap();
    let number = a.next(&mut held);
    let (written, taken) = tokio::join!(a.write(&mut held, row("1")), b.take());
    assert!(written.is_ok() && taken.is_err());
    a.show(&mut held).await.unwrap();
    assert_eq!(b.visible().await.unwrap(), number);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_under_a_renewal_that_came_too_late() {
    let slow = Slow::new(0);
    let table: Arc<dyn Table> = slow.clone();
    let a = lease(1, &table, &slow.clock);
    let mut held = a.take().await.unwrap();
    a.next(&mut held);
    slow.pass(2_000).await;
    slow.commit_millis.store(2_500, Ordering::Release);
    a.write(&mut held, row("1")).await.unwrap_err();
    assert_eq!(get_one(&*table, Key::new("row", "1")).await.unwrap(), None);
    slow.commit_millis.store(0, Ordering::Release);
    a.write(&mut held, row("1")).await.unwrap();
}

/// What a process does with a turn: numbers given, whether it shows them, how it ends.
#[derive(Clone, Copy, Debug)]
struct Play {
    process: usize,
    numbers: usize,
    shows: bool,
    breaks_off: bool,
    pause_millis: u64,
}

fn play() -> impl Strategy<Value = Play> {
    let parts = (0..3_usize, 0..4_usize, any::<bool>(), prop::bool::weighted(0.2), 0..2000_u64);
    parts.prop_map(|(process, numbers, shows, breaks_off, pause_millis)| Play {
        process,
        numbers,
        shows,
        breaks_off,
        pause_millis,
    })
}

async fn run(seed: u64, permille: u64, plays: Vec<Play>) {
    let clock = TestClock::new();
    let sound: Arc<dyn Table> = Oracle::new(clock.clone());
    let witness = lease(9, &sound, &clock);
    let faults = Faults { partial_permille: 0, ..Faults::all(permille) };
    let faulty: Arc<dyn Table> = Faulty::new(Arc::clone(&sound), faults, seed);
    let processes = [1, 2, 3].map(|me| lease(me, &faulty, &clock));
    let (mut last, mut visible) = (0, witness.visible().await.unwrap());
    for play in plays {
        let process = &processes[play.process];
        let Ok(mut held) = process.take().await else { continue };
        for _ in 0..play.numbers {
            let number = process.next(&mut held);
            assert!(number > last, "given before, or below what was");
            last = number;
        }
        clock.advance(Duration::from_millis(play.pause_millis));
        let written = process.write(&mut held, row(&last.to_string())).await;
        let shows = play.shows && play.numbers > 0 && written.is_ok();
        let shown = shows && process.show(&mut held).await.is_ok();
        if !play.breaks_off {
            process.end(&mut held).await;
        }
        drop(held);
        let now = witness.visible().await.unwrap();
        assert!(now >= visible, "what was shown stays shown");
        assert!(now <= last.max(visible), "nothing is shown that was not given");
        assert!(!shown || now == last);
        visible = now;
        if play.breaks_off {
            clock.advance(LASTS * 2);
        }
    }
}

proptest! {
    #[test]
    fn whatever_fails_numbers_are_given_once_and_shown_for_good(
        seed: u64,
        permille in 0..200_u64,
        plays in proptest::collection::vec(play(), 1..60),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(seed, permille, plays));
    }
}
