//! `cargo xtask units`: checks systemd's units of docs/operate/systemd with systemd's own tool:
//! that it understands them, and how much of the machine the service can reach.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::{files, root, run as run_command, target};
use crate::signals::Signals;
use crate::tools::programs;

/// The most that the service may be exposed, of systemd's 100.
const EXPOSURE_MAX: &str = "15";
/// Where the units expect the program, which need not be installed here.
const PROGRAM: &str = "/usr/local/bin/mini-sns";

/// Runs the checks.
pub(crate) fn run() -> Result<()> {
    let signals = Signals::listen()?;
    programs("units", &[("systemd-analyze", "systemd")], &signals)?;
    let place = target()?.join("units");
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify");
    for socket_or_service in [".socket", ".service"] {
        for unit in files(&root()?.join("docs/operate/systemd"), socket_or_service)? {
            let text = fs::read_to_string(&unit).context("a unit cannot be read")?;
            let copy = place.join(unit.file_name().context("a unit has no name")?);
            fs::write(&copy, text.replace(PROGRAM, "/bin/true"))?;
            verify.arg(&copy);
            if socket_or_service == ".service" {
                let mut security = Command::new("systemd-analyze");
                security.args(["security", "--no-pager", "--offline=true", "--threshold"]);
                run_command(security.arg(EXPOSURE_MAX).arg(&copy))?;
            }
        }
    }
    run_command(&mut verify)
}
