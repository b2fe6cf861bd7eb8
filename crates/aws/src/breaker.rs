//! A circuit breaker: after some failures in a row nobody is asked for a while, and then one probe
//! decides.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kernel::{Clock, Time};

/// When it opens, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerLimits {
    /// Failures in a row that open it.
    pub failures_max: u32,
    /// How long it stays open.
    pub open: Duration,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self { failures_max: 5, open: Duration::from_secs(30) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Everybody asks; so many have failed in a row.
    Closed { failures: u32 },
    /// Nobody asks until then.
    Open { until: Time },
    /// One is asking.
    Probing,
}

/// The breaker of one target.
pub struct Breaker {
    name: &'static str,
    limits: BreakerLimits,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// Leave to ask once. Say how it went; one that is dropped without a word, since its caller went
/// away, counts for nothing, and a probe is then another's.
#[must_use]
pub struct Leave<'a> {
    breaker: &'a Breaker,
    probe: bool,
    told: bool,
}

impl Breaker {
    /// A closed breaker for the target of that name.
    pub fn new(name: &'static str, limits: BreakerLimits, clock: Arc<dyn Clock>) -> Self {
        metrics::gauge!("breaker_open", "target" => name).set(0.0);
        Self { name, limits, clock, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Leave to ask; none while it is open.
    pub fn leave(&self) -> Option<Leave<'_>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if self.is_over(until) => true,
            State::Open { .. } | State::Probing => return None,
        };
        if probe {
            *state = State::Probing;
        }
        Some(Leave { breaker: self, probe, told: false })
    }

    fn turn(&self, next: impl FnOnce(State) -> State) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (old, new) = (*state, next(*state));
        *state = new;
        drop(state);
        let was_open = !matches!(old, State::Closed { .. });
        let is_open = !matches!(new, State::Closed { .. });
        if was_open != is_open {
            let open = if is_open { 1.0 } else { 0.0 };
            metrics::gauge!("breaker_open", "target" => self.name).set(open);
            tracing::warn!(breaker = self.name, open = is_open, "a breaker has turned");
        }
    }

    /// Where the clock was set back, nobody waits out the jump.
    fn is_over(&self, until: Time) -> bool {
        let now = self.clock.now();
        now >= until || until.since(now) > self.limits.open
    }

    fn open(&self) -> State {
        State::Open { until: self.clock.now() + self.limits.open }
    }
}

impl Leave<'_> {
    /// The target answered.
    pub fn succeeded(mut self) {
        self.told = true;
        let probe = self.probe;
        self.breaker.turn(|state| match state {
            // An answer to a question from before it opened closes nothing.
            State::Open { .. } | State::Probing if !probe => state,
            _ => State::Closed { failures: 0 },
        });
    }

    /// The target did not answer, or not as it should.
    pub fn failed(mut self) {
        self.told = true;
        let (probe, breaker) = (self.probe, self.breaker);
        breaker.turn(|state| match state {
            State::Closed { failures } if failures + 1 < breaker.limits.failures_max => {
                State::Closed { failures: failures + 1 }
            }
            State::Open { .. } | State::Probing if !probe => state,
            _ => breaker.open(),
        });
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.probe && !self.told {
            let now = self.breaker.clock.now();
            self.breaker.turn(|_| State::Open { until: now });
        }
    }
}

#[cfg(test)]
mod tests {
    use conformance::TestClock;

    use super::*;

    fn broken() -> (Breaker, Arc<TestClock>) {
        let clock = TestClock::new();
        let breaker = Breaker::new("test", BreakerLimits::default(), clock.clone());
        for _ in 0..5 {
            breaker.leave().expect("closed until the fifth").failed();
        }
        (breaker, clock)
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_half_a_minute() {
        let (breaker, clock) = broken();
        assert!(breaker.leave().is_none());
        clock.advance(Duration::from_millis(29_999));
        assert!(breaker.leave().is_none());
        clock.advance(Duration::from_millis(1));
        assert!(breaker.leave().is_some());
    }

    #[test]
    fn a_success_in_between_begins_the_count_anew() {
        let breaker = Breaker::new("test", BreakerLimits::default(), TestClock::new());
        for _ in 0..4 {
            breaker.leave().unwrap().failed();
        }
        breaker.leave().unwrap().succeeded();
        for _ in 0..4 {
            breaker.leave().unwrap().failed();
        }
        assert!(breaker.leave().is_some());
    }

    #[test]
    fn one_probe_decides() {
        let (breaker, clock) = broken();
        clock.advance(Duration::from_secs(30));
        let probe = breaker.leave().unwrap();
        assert!(breaker.leave().is_none(), "one probe at a time");
        probe.failed();
        assert!(breaker.leave().is_none());
        clock.advance(Duration::from_secs(30));
        breaker.leave().unwrap().succeeded();
        let (one, two) = (breaker.leave().unwrap(), breaker.leave().unwrap());
        one.succeeded();
        two.failed();
        assert!(breaker.leave().is_some());
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nothing_open() {
        let (mut breaker, clock) = broken();
        breaker.clock = TestClock::new();
        assert!(breaker.leave().is_none(), "half a minute is not over");
        breaker.clock = clock.clone();
        clock.advance(Duration::from_hours(1));
        breaker.leave().unwrap().failed();
        breaker.clock = TestClock::new();
        assert!(breaker.leave().is_some());
    }

    #[test]
    fn a_probe_that_is_given_up_is_anothers() {
        let (breaker, clock) = broken();
        clock.advance(Duration::from_secs(30));
        drop(breaker.leave().unwrap());
        assert!(breaker.leave().is_some());
    }

    #[test]
    fn answers_from_before_it_opened_change_nothing() {
        let clock = TestClock::new();
        let breaker = Breaker::new("test", BreakerLimits::default(), clock.clone());
        let (early, late) = (breaker.leave().unwrap(), breaker.leave().unwrap());
        for _ in 0..5 {
            breaker.leave().unwrap().failed();
        }
        early.succeeded();
        assert!(breaker.leave().is_none());
        clock.advance(Duration::from_secs(20));
        late.failed();
        clock.advance(Duration::from_secs(10));
        assert!(breaker.leave().is_some(), "a late failure prolongs nothing");
    }
}
