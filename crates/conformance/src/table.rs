//! What every table must do, case by case.
//!
//! [`table_suite!`](crate::table_suite) turns a function that makes a [`Fixture`] into one test a
//! case. The cases are named for what they demand.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use kernel::table::{
    COMMIT_WRITES_MAX, Item, Items, Key, Query, Scatter, Table, TableError, Write,
};

use crate::TestClock;

#[doc(hidden)]
pub mod commits;
#[doc(hidden)]
pub mod expiry;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod queries;
#[doc(hidden)]
pub mod races;
#[doc(hidden)]
pub mod reads;
#[doc(hidden)]
pub mod scatters;

/// A fresh, empty table, and the clock by which its items expire.
pub struct Fixture {
    /// The table under test.
    pub table: Arc<dyn Table>,
    /// Its clock.
    pub clock: Arc<TestClock>,
    /// Writes in one commit that what lies below takes, where that is less than the seam's.
    commit_writes_max: usize,
    /// Rounds of a race, and reads that a reader makes in one.
    rounds: usize,
    reads: u64,
    /// Runs of random operations.
    runs: u32,
    /// Whether a read never sees a part of a commit.
    isolated: bool,
    // After the table, so that it is dropped after it.
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl Fixture {
    /// A table on `clock`.
    pub fn new(table: Arc<dyn Table>, clock: Arc<TestClock>) -> Self {
        let (rounds, reads, runs) = (25, 300, 100);
        Self {
            table,
            clock,
            commit_writes_max: COMMIT_WRITES_MAX,
            rounds,
            reads,
            runs,
            isolated: true,
            kept: vec![],
        }
    }

    /// Keeps what the table stands on, such as a temporary directory, for as long as the fixture.
    #[must_use]
    pub fn keeping(mut self, kept: impl Any + Send + Sync) -> Self {
        self.kept.push(Box::new(kept));
        self
    }

    /// For a table that is reached over the network: races and random runs are shorter, since each
    /// step is a round trip, and there are still enough of them to meet. A read may see a part of a
    /// commit that is being made.
    #[must_use]
    pub fn at_a_distance(self) -> Self {
        Self { rounds: 5, reads: 50, runs: 25, isolated: false, ..self }
    }

    /// For an emulator that takes fewer writes in one commit than what it stands in for. The cases
    /// then fill commits only so far; refusals are still tried at the seam's own limit.
    #[must_use]
    pub fn committing_at_most(mut self, writes: usize) -> Self {
        self.commit_writes_max = writes;
        self
    }

    async fn commit(&self, writes: impl Into<Vec<Write>>) {
        self.table.commit(writes.into()).await.expect("the commit is taken");
    }

    async fn refusal(&self, writes: impl Into<Vec<Write>>) -> TableError {
        self.table.commit(writes.into()).await.expect_err("the commit is refused")
    }

    async fn scatter(&self, writes: impl Into<Vec<Scatter>>) {
        self.table.scatter(writes.into()).await.expect("the scatter is taken");
    }

    async fn get(&self, key: Key) -> Option<Item> {
        kernel::table::get_one(&*self.table, key).await.expect("the item can be read")
    }

    async fn present(&self, key: Key) -> Item {
        self.get(key).await.expect("the item is there")
    }

    async fn query(&self, query: Query) -> Items {
        self.table.query(query).await.expect("the query is answered")
    }

    /// The sort keys that `query` finds, in its order, without a following page.
    async fn sorts(&self, query: Query) -> Vec<String> {
        let found = self.query(query).await;
        assert_eq!(found.next, None, "there is a further page");
        found.items.into_iter().map(|item| item.key.sort).collect()
    }

    /// Puts plain items under `sorts` in partition `p`.
    async fn fill(&self, sorts: &[&str]) {
        for sort in sorts {
            self.commit([put(sort, sort)]).await;
        }
    }
}

/// The key in partition `p` at `sort`.
fn key(sort: &str) -> Key {
    Key::new("p", sort)
}

fn put(sort: &str, body: &str) -> Write {
    Write::put(key(sort), body.to_owned())
}

fn scatter_put(sort: &str, body: &str) -> Scatter {
    Scatter::Put { key: key(sort), body: Bytes::from(body.to_owned()), expires_at: None }
}

fn is_malformed(error: &TableError) -> bool {
    matches!(error, TableError::Malformed(_))
}

/// Makes a test of each case. Takes the path of a function that makes a fresh [`Fixture`].
#[macro_export]
macro_rules! table_suite {
    ($make:path) => {
        $crate::table_suite! { @cases $make, reads:
            an_unknown_key_is_absent
            a_put_item_is_read_back
            get_keeps_the_order_of_the_keys_and_their_repetitions
            empty_sort_keys_and_empty_bodies_are_fine
            get_takes_a_hundred_keys_and_no_more
            partitions_are_refused_when_empty_too_long_or_with_nul
            sort_keys_may_hold_anything_up_to_their_limit
            keys_of_neighbouring_partitions_do_not_mix
        }
        $crate::table_suite! { @cases $make, queries:
            a_query_walks_one_partition_only
            sort_keys_ascend_by_bytes
            a_query_can_descend
            a_query_keeps_its_limit_and_says_where_to_go_on
            pages_join_to_the_whole_in_both_directions
            there_is_no_next_page_at_the_exact_end
            bounds_are_inclusive_or_exclusive_as_asked
            crossed_bounds_find_nothing
            a_prefix_finds_what_begins_with_it
            an_unknown_partition_is_empty
            limits_of_none_and_too_many_are_refused
            a_thousand_items_fit_one_page
            large_items_are_all_found_by_following_next
        }
        $crate::table_suite! { @cases $make, commits:
            a_commit_has_one_to_a_hundred_writes
            two_writes_on_one_key_are_refused
            an_item_may_have_its_limit_in_bytes_and_no_more
            a_commit_may_have_its_limit_in_bytes_and_no_more
            a_malformed_commit_writes_nothing
            absent_holds_only_of_what_is_not_there
            present_holds_only_of_what_is_there
            a_version_holds_only_while_nobody_wrote
            the_first_unmet_condition_is_named
            an_unmet_condition_writes_nothing_at_all
            a_check_guards_the_others_and_writes_nothing
            a_version_never_comes_again
            a_deleted_item_starts_over
            a_put_replaces_the_body_and_clears_the_counter
            an_add_makes_or_keeps_the_item
            counters_go_below_zero
            deleting_what_is_not_there_is_fine_unless_it_must_be
            an_add_can_be_conditional
            a_commit_is_seen_at_once_by_get_and_query
            a_mixed_commit_happens_as_a_whole
        }
        $crate::table_suite! { @cases $make, expiry:
            an_item_expires_at_its_moment
            expired_items_are_left_out_of_pages_without_shortening_them
            expired_items_are_absent_to_conditions
            a_put_over_an_expired_item_starts_over
            an_add_over_an_expired_item_starts_over
            a_put_without_expiry_lifts_it
            an_add_keeps_the_expiry
            what_has_expired_already_is_never_seen
            scattered_items_expire_too
        }
        $crate::table_suite! { @cases $make, scatters:
            scattered_items_are_read_back
            a_scatter_replaces_the_whole_item
            a_scatter_deletes
            a_scatter_may_be_repeated
            ten_thousand_writes_fit_one_scatter_and_no_more
            a_scatter_refuses_none_and_two_on_one_key
            commits_go_on_from_scattered_items
        }
        $crate::table_suite! { @racing $make, races:
            one_of_many_racing_puts_wins
            counters_lose_no_addition
            a_version_lets_one_writer_through
            racing_commits_are_whole
            a_reader_never_sees_an_item_go_back
            a_reader_sees_what_was_answered
            commits_and_scatters_do_not_lose_each_other
        }

        #[test]
        fn random_operations_agree_with_the_oracle() {
            $crate::table::model::agrees(&|| $make());
        }
    };
    (@cases $make:path, $group:ident: $($case:ident)*) => {
        $(
            #[::tokio::test]
            async fn $case() {
                $crate::table::$group::$case(&$make()).await;
            }
        )*
    };
    (@racing $make:path, $group:ident: $($case:ident)*) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                $crate::table::$group::$case(&$make()).await;
            }
        )*
    };
}
