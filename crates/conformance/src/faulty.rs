//! A table with a bad day: throttling, contention, answers that never come, scatters cut short.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use kernel::table::{Item, Items, Key, Query, Scatter, Table, TableError, Write, check};

/// How often each fault happens, in calls out of a thousand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Any call: throttled, nothing done.
    pub throttled_permille: u64,
    /// A commit: contended, nothing done.
    pub contended_permille: u64,
    /// Any call: unavailable, nothing done.
    pub unavailable_permille: u64,
    /// A commit or scatter: done, but the answer is unavailable.
    pub answer_lost_permille: u64,
    /// A scatter: only its first part is done, and the answer is contended.
    pub partial_permille: u64,
}

impl Faults {
    /// Only faults after which trying again is right whatever was asked.
    pub fn retryable(permille: u64) -> Self {
        Self { throttled_permille: permille, contended_permille: permille, ..Self::default() }
    }

    /// Every fault there is.
    pub fn all(permille: u64) -> Self {
        Self {
            throttled_permille: permille,
            contended_permille: permille,
            unavailable_permille: permille,
            answer_lost_permille: permille,
            partial_permille: permille,
        }
    }
}

/// Any table, with faults drawn from a seed.
pub struct Faulty {
    inner: Arc<dyn Table>,
    faults: Faults,
    drawn: AtomicU64,
    happened: AtomicU64,
}

impl Faulty {
    /// `inner` with `faults`; the same seed and calls give the same faults.
    pub fn new(inner: Arc<dyn Table>, faults: Faults, seed: u64) -> Arc<Self> {
        let (drawn, happened) = (AtomicU64::new(seed), AtomicU64::new(0));
        Arc::new(Self { inner, faults, drawn, happened })
    }

    /// How many faults there were.
    pub fn happened(&self) -> u64 {
        self.happened.load(Ordering::Relaxed)
    }

    fn strikes(&self, permille: u64) -> bool {
        // SplitMix64
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let state = self.drawn.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let strikes = (word ^ (word >> 31)) % 1000 < permille;
        self.happened.fetch_add(u64::from(strikes), Ordering::Relaxed);
        strikes
    }

    /// Faults that come before anything is done.
    fn before(&self) -> Result<(), TableError> {
        if self.strikes(self.faults.throttled_permille) {
            return Err(TableError::Throttled);
        }
        if self.strikes(self.faults.unavailable_permille) {
            return Err(TableError::Unavailable("injected before the work".to_owned()));
        }
        Ok(())
    }

    /// The answer on its way back.
    fn after(&self, answer: Result<(), TableError>) -> Result<(), TableError> {
        if answer.is_ok() && self.strikes(self.faults.answer_lost_permille) {
            return Err(TableError::Unavailable("injected after the work".to_owned()));
        }
        answer
    }
}

#[async_trait]
impl Table for Faulty {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        self.before()?;
        self.inner.get(keys).await
    }

    async fn query(&self, query: Query) -> Result<Items, TableError> {
        self.before()?;
        self.inner.query(query).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), TableError> {
        check::commit(&writes)?;
        self.before()?;
        if self.strikes(self.faults.contended_permille) {
            return Err(TableError::Contended);
        }
        self.after(self.inner.commit(writes).await)
    }

    async fn scatter(&self, mut writes: Vec<Scatter>) -> Result<(), TableError> {
        check::scatter(&writes)?;
        self.before()?;
        if writes.len() > 1 && self.strikes(self.faults.partial_permille) {
            writes.truncate(writes.len() / 2);
            self.inner.scatter(writes).await?;
            return Err(TableError::Contended);
        }
        self.after(self.inner.scatter(writes).await)
    }
}

/// Any table, asked again after every refusal that allows it: what is throttled or contended
/// always, what is unavailable only where repeating does no harm.
pub struct Patient(Arc<dyn Table>);

impl Patient {
    /// `inner`, asked again.
    pub fn new(inner: Arc<dyn Table>) -> Arc<Self> {
        Arc::new(Self(inner))
    }
}

const TRIES: usize = 1000;

async fn again<T, F>(mut ask: impl FnMut() -> F, repeatable: bool) -> Result<T, TableError>
where
    F: Future<Output = Result<T, TableError>>,
{
    for _ in 1..TRIES {
        match ask().await {
            Err(TableError::Throttled | TableError::Contended) => {}
            Err(TableError::Unavailable(_)) if repeatable => {}
            answer => return answer,
        }
    }
    ask().await
}

#[async_trait]
impl Table for Patient {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        again(|| self.0.get(keys), true).await
    }

    async fn query(&self, query: Query) -> Result<Items, TableError> {
        again(|| self.0.query(query.clone()), true).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), TableError> {
        again(|| self.0.commit(writes.clone()), false).await
    }

    async fn scatter(&self, writes: Vec<Scatter>) -> Result<(), TableError> {
        again(|| self.0.scatter(writes.clone()), true).await
    }
}
