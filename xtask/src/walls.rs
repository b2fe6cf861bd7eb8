//! `cargo xtask walls`: what keeps the house in shape.
//!
//! Which crate may know which ([`arrows`]), that each function of Lambda links one service
//! ([`functions`]), the rules that hold for every source file ([`sources`]), that the ledger of
//! requirements names only what is there ([`ledger`]), that the documented options are those of
//! the code ([`options`]), as are the documented metrics ([`metrics`]), and that alarms and their
//! pages belong together ([`alerts`]). The tests below run it over this workspace.

mod alerts;
mod arrows;
mod functions;
mod ledger;
mod metrics;
mod options;
mod sources;

use anyhow::{Result, bail};

use crate::shell::{cargo, output, root};

/// Prints a line for each breach; one is enough to fail.
pub(crate) fn run() -> Result<()> {
    let breaches = breaches()?;
    for breach in &breaches {
        eprintln!("wall: {breach}");
    }
    match breaches.len() {
        0 => Ok(()),
        count => bail!("the walls are broken in {count} places"),
    }
}

fn breaches() -> Result<Vec<String>> {
    let metadata = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"])?)?;
    let mut breaches = arrows::breaches(&arrows::read(&metadata)?);
    breaches.extend(functions::breaches(&metadata)?);
    breaches.extend(sources::breaches_below(&root()?)?);
    breaches.extend(ledger::breaches_below(&root()?)?);
    breaches.extend(options::breaches_below(&root()?)?);
    breaches.extend(alerts::breaches_below(&root()?)?);
    breaches.extend(metrics::breaches_below(&root()?)?);
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_workspace_keeps_its_walls() {
        assert_eq!(super::breaches().unwrap(), Vec::<String>::new());
    }
}
