//! What every table must do, on Amazon's own DynamoDB.

use conformance::table::Fixture;

use crate::stage;

/// Amazon's local DynamoDB is of a time when a transaction took ten writes; DynamoDB takes a
/// hundred since 2022 (`faults::a_commit_of_a_hundred_writes_is_one_transaction`).
fn make() -> Fixture {
    let stage = stage::Stage::new();
    Fixture::new(stage.table(), stage.clock.clone())
        .keeping(stage)
        .at_a_distance()
        .committing_at_most(stage::LOCAL_COMMIT_WRITES_MAX)
}

conformance::table_suite!(make);

/// The same on dynoxide, which takes a hundred writes: what whole processes are tried on.
mod dynoxide {
    use conformance::table::Fixture;

    use crate::stage;

    fn make() -> Fixture {
        let stage = stage::Stage::on_dynoxide();
        Fixture::new(stage.table(), stage.clock.clone()).keeping(stage).at_a_distance()
    }

    conformance::table_suite!(make);
}

mod faulty {
    use conformance::faulty::{Faults, Faulty, Patient};
    use conformance::table::Fixture;

    use crate::stage;

    /// A caller who asks again is not told anything else when the table has a bad day.
    fn make() -> Fixture {
        let stage = stage::Stage::new();
        let faulty = Faulty::new(stage.table(), Faults::retryable(100), 7);
        Fixture::new(Patient::new(faulty), stage.clock.clone())
            .keeping(stage)
            .at_a_distance()
            .committing_at_most(stage::LOCAL_COMMIT_WRITES_MAX)
    }

    #[tokio::test]
    async fn pages_join_to_the_whole_in_both_directions() {
        conformance::table::queries::pages_join_to_the_whole_in_both_directions(&make()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn counters_lose_no_addition() {
        conformance::table::races::counters_lose_no_addition(&make()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_version_lets_one_writer_through() {
        conformance::table::races::a_version_lets_one_writer_through(&make()).await;
    }
}
