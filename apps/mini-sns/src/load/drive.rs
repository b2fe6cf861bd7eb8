//! The running of a mix: some threads, each with a share of the connections on a runtime of its
//! own, every connection one request at a time: the next when the last is answered, or by a clock.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::mix::{Mix, Requests};
use super::people::Person;
use super::report::Tally;
use super::target::Target;
use super::wire::Connection;

/// Time that answers may still take when the run is over.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(10);
/// Wait after a connection broke.
const BROKEN_WAIT: Duration = Duration::from_millis(100);
/// Time between two looks at the progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// What to run.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) target: Target,
    pub(super) mix: Mix,
    pub(super) people: Arc<Vec<Person>>,
    /// Posts that can be liked.
    pub(super) likeable: Arc<Vec<String>>,
    pub(super) connections: usize,
    pub(super) threads: usize,
    pub(super) duration: Duration,
    /// Ends after so many requests, where given.
    pub(super) requests_max: Option<u64>,
    /// Requests a second of all connections; without it each sends when it can.
    pub(super) rate: Option<f64>,
}

/// What all connections share.
struct Shared {
    ends: Instant,
    /// Requests begun.
    begun: AtomicU64,
    requests_max: u64,
}

impl Shared {
    fn goes_on(&self) -> bool {
        self.begun.fetch_add(1, Ordering::Relaxed) < self.requests_max && Instant::now() < self.ends
    }
}

/// Runs it; the time is that from the first request to the last answer.
pub(super) async fn run(job: Job, bar: &ProgressBar) -> Result<(Tally, Duration)> {
    let started = Instant::now();
    let shared = Arc::new(Shared {
        ends: started + job.duration,
        begun: AtomicU64::new(0),
        requests_max: job.requests_max.unwrap_or(u64::MAX),
    });
    let mut threads = Vec::new();
    for thread in 0..job.threads {
        let (answer, tally) = oneshot::channel();
        let (job, shared) = (job.clone(), Arc::clone(&shared));
        std::thread::Builder::new().name(format!("load-{thread}")).spawn(move || {
            // Nobody waits for the answer once the run was given up.
            let _ = answer.send(thread_of(&job, thread, &shared));
        })?;
        threads.push(tally);
    }
    let all = async {
        let mut all = Tally::default();
        for tally in threads {
            all.merge(tally.await.context("a thread of the generator died")??);
        }
        anyhow::Ok(all)
    };
    let tally = watched(all, &shared, &job, bar).await?;
    Ok((tally, started.elapsed()))
}

/// Shows the progress while `work` goes on.
async fn watched<T>(
    work: impl Future<Output = Result<T>>,
    shared: &Shared,
    job: &Job,
    bar: &ProgressBar,
) -> Result<T> {
    let millis = u64::try_from(job.duration.as_millis())?;
    bar.set_length(job.requests_max.unwrap_or(millis));
    let started = Instant::now();
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    let mut work = std::pin::pin!(work);
    let mut before = 0;
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => {}
        }
        let begun = shared.begun.load(Ordering::Relaxed);
        let elapsed = u64::try_from(started.elapsed().as_millis())?;
        bar.set_position(if job.requests_max.is_some() { begun } else { elapsed.min(millis) });
        let ticks_a_second = 1000 / PROGRESS_EVERY.as_millis();
        let rate = u128::from(begun.saturating_sub(before)) * ticks_a_second;
        bar.set_message(format!("{rate} requests/s"));
        before = begun;
    }
}

fn thread_of(job: &Job, thread: usize, shared: &Arc<Shared>) -> Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tally = Rc::new(RefCell::new(Tally::default()));
    let local = LocalSet::new();
    for number in (thread..job.connections).step_by(job.threads) {
        // With more people than connections, each connection has several of its own.
        let first = number % job.people.len();
        let numbers: Vec<usize> = (first..job.people.len()).step_by(job.connections).collect();
        let requests = Requests::new(&job.target, &job.people, &numbers, &job.likeable);
        let connection = Connection::new(&job.target);
        let dice = fastrand::Rng::with_seed(u64::try_from(number)?);
        let (tally, shared, mix) = (Rc::clone(&tally), Arc::clone(shared), job.mix);
        let clock = job.rate.map(|rate| Clock::new(rate, number, job.connections));
        local.spawn_local(async move {
            let tally_of = Rc::clone(&tally);
            let mut worker = Worker { mix, requests, connection, dice, clock, tally: tally_of };
            let limit = tokio::time::Instant::from_std(shared.ends + LAST_ANSWERS_MAX);
            if tokio::time::timeout_at(limit, worker.work(&shared)).await.is_err() {
                tally.borrow_mut().failed(mix.draw(&mut fastrand::Rng::new()), "no answer".into());
            }
        });
    }
    runtime.block_on(local);
    drop(runtime);
    Rc::into_inner(tally).map(RefCell::into_inner).context("a connection is still at work")
}

/// When one connection's requests are due.
struct Clock {
    next: Instant,
    every: Duration,
}

impl Clock {
    /// The connections take turns.
    fn new(rate: f64, number: usize, connections: usize) -> Self {
        let turn = Duration::from_secs_f64(rate.recip());
        let turns = |count| turn * u32::try_from(count).unwrap_or(u32::MAX);
        Self { next: Instant::now() + turns(number), every: turns(connections) }
    }
}

struct Worker {
    mix: Mix,
    requests: Requests,
    connection: Connection,
    dice: fastrand::Rng,
    clock: Option<Clock>,
    tally: Rc<RefCell<Tally>>,
}

impl Worker {
    async fn work(&mut self, shared: &Shared) {
        while shared.goes_on() {
            let operation = self.mix.draw(&mut self.dice);
            self.due().await;
            let request = self.requests.next(operation);
            let sent = Instant::now();
            let wait = match self.connection.exchange(request).await {
                Ok(answer) if (200..300).contains(&answer.status) => {
                    self.tally.borrow_mut().took(operation, sent.elapsed());
                    continue;
                }
                Ok(answer) => {
                    self.tally.borrow_mut().failed(operation, answer.error());
                    answer.retry_after
                }
                Err(error) => {
                    self.tally.borrow_mut().failed(operation, format!("{error:#}"));
                    Some(BROKEN_WAIT)
                }
            };
            // By the clock each request is somebody else's, who does not know of a wait.
            if let Some(wait) = wait.filter(|_| self.clock.is_none()) {
                let rest = shared.ends.saturating_duration_since(Instant::now());
                tokio::time::sleep(wait.min(rest)).await;
            }
        }
    }

    /// Waits until the clock says so, where there is one.
    async fn due(&mut self) {
        let Some(clock) = &mut self.clock else { return };
        let due = clock.next;
        clock.next += clock.every;
        tokio::time::sleep_until(due.into()).await;
    }
}
