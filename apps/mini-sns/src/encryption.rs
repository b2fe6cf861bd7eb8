//! The operator's keys, wherever they are given, and the data key that they open.

use std::path::PathBuf;

use clap::Args;
use embedded::encryption::OperatorKeys;

use crate::failure::Failure;
use crate::secret_file::{self, OTHERS_THAN_READERS};
use crate::settings::{Layer, Settings};
use crate::values::Secret;

/// For commands that read a stopped server's data.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// File of the key that the data is encrypted with
    #[arg(long, env = "MINI_SNS_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    encryption_key_file: Option<PathBuf>,
    /// The key itself, by its variable
    #[arg(long, env = "MINI_SNS_ENCRYPTION_KEY", hide = true, hide_env_values = true)]
    encryption_key: Option<Secret>,
}

impl KeyArgs {
    /// The same options with these keys.
    pub(crate) fn with(self, layer: Layer) -> Layer {
        let Self { encryption_key, encryption_key_file } = self;
        Layer { encryption_key, encryption_key_file, ..layer }
    }
}

impl Settings {
    /// The operator's keys; none where nothing is encrypted.
    pub(crate) fn operator_keys(&self) -> Result<Option<OperatorKeys>, Failure> {
        let of_file = |path: &PathBuf| {
            let refused = |what: String| format!("encryption_key_file: {what}");
            let bytes = secret_file::read(path, OTHERS_THAN_READERS).map_err(refused)?;
            OperatorKeys::parse(&String::from_utf8_lossy(&bytes))
                .map_err(|what| refused(format!("{}: {what}", path.display())))
        };
        let of_text = |key: &Secret| {
            OperatorKeys::parse(key.reveal()).map_err(|what| format!("encryption_key: {what}"))
        };
        let given = self.encryption_key.as_ref().map(of_text);
        let given = given.or_else(|| self.encryption_key_file.as_ref().map(of_file));
        given.transpose().map_err(Failure::usage)
    }
}
