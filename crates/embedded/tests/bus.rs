//! The embedded bus under the suite of every bus.

mod bus_stage;

conformance::bus_suite!(bus_stage::stage);
