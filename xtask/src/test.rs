//! `cargo xtask test`: every test of the workspace, documentation tests included, with the test bed
//! up while they run, and then the web client's, as `cargo xtask web` has them.
//!
//! Everything is built in the dev profile, the binary that the end-to-end tests and the browsers'
//! start as well.

use anyhow::Result;

use crate::shell::{cargo, has_cargo_command};
use crate::signals::Signals;
use crate::testbed::{Borrowed, VARIABLE};
use crate::tools::programs;
use crate::web::Checks;
use crate::{alerts, infra};

/// The program has both backends then.
const BOTH: &str = "mini-sns/aws";
const NEXTEST: [&str; 5] = ["nextest", "run", "--workspace", "--features", BOTH];
/// All of the workspace: what else builds the tests builds the same.
pub(crate) const TEST: [&str; 4] = ["test", "--workspace", "--features", BOTH];

/// What the end-to-end tests ask of the machine, with Debian's packages.
const SYSTEM: [(&str, &str); 5] = [
    ("curl", "curl"),
    ("ip", "iproute2"),
    ("jq", "jq"),
    ("systemd-socket-activate", "systemd"),
    ("unshare", "util-linux"),
];

/// Runs the tests with nextest where it is installed, else with cargo's own runner. However they
/// end, the bed goes down again, unless it was up before.
pub(crate) fn run() -> Result<()> {
    let signals = Signals::listen()?;
    programs("the end-to-end tests", &SYSTEM, &signals)?;
    alerts::check(&signals)?;
    let templates = infra::check(&signals)?;
    let web = Checks::prepare(&signals, false)?;
    web.without_browser()?;
    let nextest = has_cargo_command("nextest")?;
    let runner: &[&str] = if nextest { &NEXTEST } else { &TEST };
    // The bed need not wait for the compiler.
    signals.run(cargo(runner)?.arg("--no-run"))?;
    let bed = Borrowed::take(&signals)?;
    let tests = || {
        let mut run = cargo(runner)?;
        run.env(VARIABLE, bed.file()).env(infra::VARIABLE, &templates);
        signals.run(run.arg("--no-fail-fast"))?;
        // Nextest does not know documentation tests.
        let doc = || cargo(&[&TEST[..], &["--doc"]].concat());
        if nextest { signals.run(doc()?.env(VARIABLE, bed.file())) } else { Ok(()) }
    };
    let tested = tests();
    let returned = bed.give_back();
    // Whatever came of the tests, as none of them ends the others.
    let browsed = web.in_browser();
    tested.and(browsed).and(returned)
}
