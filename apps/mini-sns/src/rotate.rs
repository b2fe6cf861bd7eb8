//! `mini-sns rotate-keys`: another key to sign tokens with, for a stopped server.

use std::path::PathBuf;

use clap::Args;

use crate::data::Data;
use crate::encryption::KeyArgs;
use crate::failure::Failure;
use crate::output;
use crate::settings::{Layer, Settings};
use crate::world::embedded as backend;

/// Whose keys.
#[derive(Debug, Args)]
pub(crate) struct RotateKeysArgs {
    /// The data directory
    #[arg(long, env = "MINI_SNS_DATA", default_value = "./data", value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    keys: KeyArgs,
}

/// Makes a new key. The one before it goes on verifying, and the one before that no longer does.
pub(crate) fn run(args: RotateKeysArgs) -> Result<(), Failure> {
    Data::existing(&args.data)?;
    let layer = Layer { data: Some(args.data), ..Layer::default() };
    let settings = Settings::read(args.keys.with(layer), None).map_err(Failure::usage)?;
    let (_world, engine) = backend::open(&settings)?;
    engine.identity.rotate_keys().map_err(Failure::failed)?;
    output::line("Tokens are signed with a new key; those of the one before it stay good.")
}
