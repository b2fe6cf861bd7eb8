//! Events for the tests of the bus.

use conformance::{SeededIds, TestClock};
use kernel::event::DeletedUser;
use kernel::{Event, EventData, Ids, UserId};

/// Some events, each of its own id.
pub(crate) fn events(count: usize) -> Vec<Event> {
    let clock = TestClock::new();
    let ids = SeededIds::new(clock.clone(), 9);
    let event = |_| {
        let user_id = UserId(ids.ulid());
        Event::new(&*ids, &*clock, EventData::UserDeleted(DeletedUser { user_id }))
    };
    (0..count).map(event).collect()
}
