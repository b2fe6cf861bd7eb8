//! Tables on the test bed, each test with its own.

use std::sync::Arc;
use std::time::Duration;

use aws::dynamodb::{self, DynamoTable};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryPartition;
use conformance::TestClock;
use conformance::testbed::Testbed;
use kernel::clock::SystemClock;
use kernel::{Clock, Time};

use crate::bed;

/// Writes in one transaction of Amazon's local DynamoDB.
pub(crate) const LOCAL_COMMIT_WRITES_MAX: usize = 10;

/// A fresh table and its clock, which is a day ahead: the emulator deletes what has expired by the
/// real time, as DynamoDB does, and no test waits for that.
pub(crate) struct Stage {
    url: String,
    pub(crate) name: String,
    pub(crate) clock: Arc<TestClock>,
}

impl Stage {
    /// A table of its own. May be called inside a runtime and outside.
    pub(crate) fn new() -> Self {
        Self::at(Testbed::up().dynamodb)
    }

    /// The same on dynoxide.
    pub(crate) fn on_dynoxide() -> Self {
        Self::at(Testbed::up().dynoxide)
    }

    fn at(url: String) -> Self {
        let name = dynamodb::name(&format!("{:016x}", fastrand::u64(..)), "test");
        let clock = TestClock::new();
        clock.advance(SystemClock.now().since(clock.now()) + Duration::from_hours(24));
        apart(dynamodb::create(&client_at(&bed::sdk(), &url), &name)).expect("the table is made");
        Self { url, name, clock }
    }

    /// The table as a service has it.
    pub(crate) fn table(&self) -> Arc<DynamoTable> {
        Arc::new(self.table_at(self.client()))
    }

    /// A client of where it is.
    pub(crate) fn client(&self) -> Client {
        client_at(&bed::sdk(), &self.url)
    }

    /// The table, reached through `client`.
    pub(crate) fn table_at(&self, client: Client) -> DynamoTable {
        DynamoTable::new(client, &self.name, self.clock.clone())
    }

    pub(crate) fn in_millis(&self, millis: u64) -> Time {
        self.clock.now() + Duration::from_millis(millis)
    }
}

/// The emulator gets slower with each row that is left in it.
impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let gone = apart(self.client().delete_table().table_name(&self.name).send());
            gone.expect("the table is removed");
        }
    }
}

/// Waits for `work` in a runtime of its own.
fn apart<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(work)
        });
        working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A client for the test bed.
pub(crate) fn client() -> Client {
    client_at(&bed::sdk(), &Testbed::up().dynamodb)
}

/// A client that shares its quota of retries with none, since tests that fail on purpose run side
/// by side.
pub(crate) fn client_at(sdk: &SdkConfig, url: &str) -> Client {
    let quota = RetryPartition::new(format!("{:016x}", fastrand::u64(..)));
    let config = dynamodb::client(sdk, Some(url)).config().to_builder();
    Client::from_conf(config.retry_partition(quota).build())
}
