//! `mini-sns rotate-keys`: another key to sign tokens with, for a stopped server.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use embedded::encryption::KEY;
use embedded::identity::check_keys;
use embedded::table;
use kernel::clock::SystemClock;
use kernel::ids::SystemIds;

use crate::data::Data;
use crate::encryption::KeyArgs;
use crate::failure::Failure;
use crate::output;
use crate::settings::{Layer, Settings};
use crate::world::embedded::{self as backend, STORES};

/// Whose keys.
#[derive(Debug, Args)]
pub(crate) struct RotateKeysArgs {
    /// The data directory
    #[arg(long, env = "MINI_SNS_DATA", default_value = "./data", value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    keys: KeyArgs,
    /// Only check that it can be done, and tell which files would be written
    #[arg(long)]
    dry_run: bool,
}

/// Makes a new key. The one before it goes on verifying, and the one before that no longer does.
pub(crate) fn run(args: RotateKeysArgs) -> Result<(), Failure> {
    let data = Data::existing(&args.data)?;
    let layer = Layer { data: Some(args.data), ..Layer::default() };
    let settings = Settings::read(args.keys.with(layer), None).map_err(Failure::usage)?;
    if args.dry_run {
        return try_out(&data, &settings);
    }
    let (_world, engine) = backend::open(&settings)?;
    engine.identity.rotate_keys().map_err(Failure::failed)?;
    output::line("Tokens are signed with a new key; those of the one before it stay good.")
}

/// Looks whether nobody serves the data, and whether its keys are what they have to be.
fn try_out(data: &Data, settings: &Settings) -> Result<(), Failure> {
    let refused = |error: &dyn Display| Failure::usage(format!("data: {error}"));
    for name in STORES {
        table::check_unused(&data.part(name)).map_err(|error| refused(&error))?;
    }
    let ids = SystemIds::new(Arc::new(SystemClock));
    let encryption = data.encryption(settings.operator_keys()?.as_ref(), &ids)?;
    let signing = check_keys(&data.keys(), &encryption).map_err(|error| refused(&error))?;
    output::line(&format!("{} would be written", signing.display()))?;
    if encryption.is_relocked() {
        output::line(&format!("{} would be written", data.part(KEY).display()))?;
    }
    Ok(())
}
