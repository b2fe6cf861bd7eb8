//! Argon2id on a few threads of its own right, so that a flood of sign-ins cannot starve reads.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use kernel::{Ids, Problem, identity, request};
use tokio::sync::{Semaphore, TryAcquireError};
use tokio::time::timeout;

use super::Config;

/// The time of a request that is left for waiting and hashing, at most.
const PATIENCE: Duration = Duration::from_millis(2400);
/// The part of it that is kept for the work itself, on a machine that is slow or busy.
const WORK: Duration = Duration::from_millis(800);

/// Hashes and verifies passwords; at most so many at once, at most so many waiting.
pub(super) struct Passwords {
    argon2: Argon2<'static>,
    ids: Arc<dyn Ids>,
    /// One permit for each password in work.
    workers: Arc<Semaphore>,
    /// One permit for each password in work or waiting.
    places: Arc<Semaphore>,
    /// A hash that no password has, for accounts that do not exist.
    nobody: String,
}

impl Passwords {
    /// Workers and cost by `config`; refuses a cost that Argon2 does not know.
    pub(super) fn new(config: &Config, ids: Arc<dyn Ids>) -> Result<Self, String> {
        let params = Params::new(config.argon2_memory_kib, config.argon2_passes, 1, None)
            .map_err(|error| format!("the cost of password hashing: {error}"))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = phc(&argon2, &ids.secret(), &ids.secret())?;
        let workers = config.hash_workers.max(1);
        Ok(Self {
            argon2,
            ids,
            workers: Arc::new(Semaphore::new(workers)),
            places: Arc::new(Semaphore::new(workers + config.hash_waiting_max)),
            nobody,
        })
    }

    /// The PHC string to keep for `password`.
    pub(super) async fn hash(&self, password: &str) -> Result<String, Problem> {
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        let salt = self.ids.secret();
        let hash = self.run(move || phc(&argon2, password.as_bytes(), &salt)).await?;
        hash.map_err(|reason| Problem::internal(std::io::Error::other(reason)))
    }

    /// Whether `password` has `hash`; never without one, and after the same work.
    pub(super) async fn verify(
        &self,
        password: &str,
        hash: Option<String>,
    ) -> Result<bool, Problem> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        let matches = self.run(move || {
            let hash = PasswordHash::new(&hash).map_err(|error| error.to_string())?;
            Ok::<_, String>(argon2.verify_password(password.as_bytes(), &hash).is_ok())
        });
        match matches.await? {
            Ok(matches) => Ok(matches && known),
            Err(reason) => Err(Problem::internal(std::io::Error::other(reason))),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(too_busy)?;
        let worker = in_patience(Arc::clone(&self.workers).acquire_owned()).await?;
        let worker = worker.map_err(Problem::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            // Held until the work is done, even when the caller has gone.
            let _held = (place, worker);
            work()
        });
        done.await.map_err(Problem::internal)
    }
}

/// Waits as long as the request can and still be answered: on a slow machine the queue is too long
/// before it is full, and being told to come again is better than running into the deadline.
pub(super) async fn in_patience<F: Future>(wait: F) -> Result<F::Output, Problem> {
    let patience = request::time_left(PATIENCE).min(PATIENCE).saturating_sub(WORK);
    timeout(patience, wait).await.map_err(|_| too_busy(TryAcquireError::NoPermits))
}

/// What busy workers are to people.
pub(super) fn too_busy(error: TryAcquireError) -> Problem {
    identity::too_busy().because(error)
}

fn phc(argon2: &Argon2<'_>, password: &[u8], salt: &[u8; 32]) -> Result<String, String> {
    // 128 bits of salt are what the field recommends.
    let hash: PasswordHash =
        argon2.hash_password_with_salt(password, &salt[..16]).map_err(|error| error.to_string())?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use conformance::{SeededIds, TestClock};

    use super::*;

    fn passwords(hash_workers: usize, hash_waiting_max: usize) -> Passwords {
        let config = Config {
            hash_workers,
            hash_waiting_max,
            argon2_memory_kib: 64,
            argon2_passes: 1,
            ..Config::default()
        };
        Passwords::new(&config, SeededIds::new(TestClock::new(), 1)).unwrap()
    }

    #[tokio::test]
    async fn a_hash_is_a_phc_string_of_its_own() {
        let passwords = passwords(1, 8);
        let (a, b) = (passwords.hash("secret-1").await.unwrap(), passwords.hash("secret-1").await);
        assert!(a.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{a}");
        assert_ne!(a, b.unwrap());
        assert!(passwords.verify("secret-1", Some(a.clone())).await.unwrap());
        assert!(!passwords.verify("secret-2", Some(a)).await.unwrap());
        assert!(!passwords.verify("secret-1", None).await.unwrap());
    }

    #[tokio::test]
    async fn over_the_queue_it_answers_at_once() {
        let passwords = passwords(1, 1);
        let held = Arc::clone(&passwords.workers).acquire_owned().await.unwrap();
        let place = Arc::clone(&passwords.places).try_acquire_owned().unwrap();
        let waiting = passwords.hash("a");
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        let refused = passwords.hash("b").await.unwrap_err();
        assert_eq!((refused.code.status(), refused.retry_after_secs), (429, Some(1)));
        drop((held, place));
        assert!(waiting.await.is_ok());
    }

    #[test]
    fn an_impossible_cost_is_refused() {
        let config = Config { argon2_memory_kib: 0, ..Config::default() };
        let ids = SeededIds::new(TestClock::new(), 1);
        assert!(Passwords::new(&config, ids).err().unwrap().contains("cost of password hashing"));
    }
}
