//! `cargo xtask cost`: writes the model in docs/cost.md, from what calls cost (measured, in the
//! same document), from what people do (`infra/load.toml`) and from what AWS asks
//! (`infra/prices.toml`).

mod input;
mod model;
mod page;

use std::fs;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use self::input::{Input, Measured};
use crate::record;
use crate::shell::root;

const DOCUMENT: &str = "docs/cost.md";
const LOAD: &str = "infra/load.toml";
const PRICES: &str = "infra/prices.toml";
/// Alarms are billed by the metrics in them, which are counted here.
const ALARMS: &str = "infra/alarms.yaml";
const COMMAND: &str = "cargo xtask cost";

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only compare the document with what would be written
    #[arg(long)]
    check: bool,
}

/// Writes the model, or compares it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let made = made()?;
    if made == read(DOCUMENT)? {
        println!("{DOCUMENT} is what `{COMMAND}` makes");
        return Ok(());
    }
    if arguments.check {
        bail!("{DOCUMENT} is not what the command makes; run `{COMMAND}` and look at the change");
    }
    fs::write(root()?.join(DOCUMENT), made).with_context(|| format!("cannot write {DOCUMENT}"))?;
    println!("wrote {DOCUMENT}");
    Ok(())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(root()?.join(path)).with_context(|| format!("cannot read {path}"))
}

fn parsed<T: DeserializeOwned>(path: &str) -> Result<T> {
    toml::from_str(&read(path)?).with_context(|| path.to_owned())
}

/// The document as it must be.
fn made() -> Result<String> {
    let document = read(DOCUMENT)?;
    let input = Input {
        load: parsed(LOAD)?,
        prices: parsed(PRICES)?,
        measured: Measured::read(&document)?,
        alarm_metrics: u32::try_from(read(ALARMS)?.matches("MetricName:").count())?.into(),
    };
    Ok(record::replaced(&document, "model", COMMAND, &page::model(&input)?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_is_what_the_command_makes() {
        let kept = super::read(super::DOCUMENT).unwrap();
        assert_eq!(super::made().unwrap(), kept, "run `cargo xtask cost`");
    }
}
