//! The table suite on the embedded table: as it comes, encrypted, with hardly a cache, and on a bad
//! day.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod encrypted;

use std::sync::Arc;

use conformance::TestClock;
use conformance::table::Fixture;
use embedded::table::{Options, Store};

fn open(options: Options) -> (Store, Arc<TestClock>, tempfile::TempDir) {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let store = Store::open(dir.path(), options, clock.clone()).unwrap();
    (store, clock, dir)
}

mod as_it_comes {
    use super::{Arc, Fixture, Options, open};

    fn make() -> Fixture {
        let (store, clock, dir) = open(Options::default());
        Fixture::new(Arc::new(store), clock).keeping(dir)
    }

    conformance::table_suite!(make);
}

mod as_it_comes_encrypted {
    use super::{Arc, Fixture, Options, encrypted, open};

    fn make() -> Fixture {
        let keys = tempfile::tempdir().unwrap();
        let encryption = encrypted::encryption(keys.path());
        let (store, clock, dir) = open(Options { encryption, ..Options::default() });
        Fixture::new(Arc::new(store), clock).keeping(dir)
    }

    conformance::table_suite!(make);
}

mod encrypted_with_all_sort_keys_hidden {
    use super::{Arc, Fixture, Options, encrypted, open};

    fn make() -> Fixture {
        let keys = tempfile::tempdir().unwrap();
        let encryption = encrypted::encryption(keys.path());
        // Hardly a cache, so that what is stored is read.
        let options = Options { cache_bytes: 4096, hidden_sorts: &[""], ..Options::default() };
        let (store, clock, dir) = open(Options { encryption, ..options });
        Fixture::new(Arc::new(store), clock).keeping(dir)
    }

    conformance::table_suite!(make);
}

mod with_hardly_a_cache {
    use super::{Arc, Fixture, Options, open};

    fn make() -> Fixture {
        let options = Options {
            cache_bytes: 4096,
            block_cache_bytes: 4096,
            memtable_bytes: 64 * 1024,
            engine_threads: 1,
            ..Options::default()
        };
        let (store, clock, dir) = open(options);
        Fixture::new(Arc::new(store), clock).keeping(dir)
    }

    conformance::table_suite!(make);
}

mod on_a_bad_day {
    use conformance::faulty::{Faults, Faulty, Patient};

    use super::{Arc, Fixture, Options, open};

    fn make() -> Fixture {
        let (store, clock, dir) = open(Options::default());
        let faults = Faults { partial_permille: 200, ..Faults::retryable(100) };
        let faulty = Faulty::new(Arc::new(store), faults, 11);
        Fixture::new(Patient::new(faulty), clock).keeping(dir)
    }

    conformance::table_suite!(make);
}
