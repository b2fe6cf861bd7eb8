//! The command line. A bad flag is one line that says what and where, and exit code 2.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::settings::Layer;

/// Mini-SNS: a microblog in one binary.
#[derive(Debug, Parser)]
#[command(name = "mini-sns", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do; serves where left out.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve everything, and print the address to open
    Serve(Box<Serve>),
    /// Print the OpenAPI document of the API
    Openapi,
    /// Look after events that could not be handled
    #[command(subcommand)]
    Dlq(crate::dlq::Command),
    /// Copy the data as it is now, of a running server or a stopped one
    Backup(crate::backup::BackupArgs),
    /// List the copies, and the moments that can be restored from them
    Backups(crate::backup::BackupsArgs),
    /// Bring back the data of a moment: embedded into a new directory, on AWS from restored tables
    Restore(Box<crate::restore::RestoreArgs>),
    /// Find people, suspend accounts and give them back
    #[command(subcommand)]
    Users(crate::operate::Users),
    /// Remove posts
    #[command(subcommand)]
    Posts(crate::operate::Posts),
    /// See what people reported, and close it
    #[command(subcommand)]
    Reports(crate::operate::reports::Reports),
    /// List what operators did
    Audit(crate::operate::Audit),
    /// Tell how a running server is, or count what the data of a stopped one holds
    Stats(crate::stats::StatsArgs),
    /// Make another key to sign tokens with, for a stopped server
    RotateKeys(crate::rotate::RotateKeysArgs),
    /// Check the data of a stopped server against its own rules
    Verify(crate::verify::VerifyArgs),
    /// Put load on a Mini-SNS and measure it
    Load(Box<crate::load::LoadArgs>),
    /// Make tables, bus, queues and a user pool on AWS, to try the aws backend
    #[cfg(feature = "aws")]
    Provision(crate::provision::ProvisionArgs),
}

/// How to serve.
#[derive(Debug, Default, Args)]
pub(crate) struct Serve {
    /// Configuration file (TOML); its keys are the long flags with _ for -
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Everything else
    #[command(flatten)]
    pub(crate) options: Layer,
}

/// Options that are true when they stand alone.
const SWITCHES: [&str; 2] = ["DEMO", "SHARED"];
/// Options whose values `--help` does not show.
const SECRETS: [&str; 4] = ["ADMIN_TOKEN", "ENCRYPTION_KEY", "INTERNAL_SECRET", "REDIS_URLS"];
/// Options that are refused on the command line, which everybody on a machine can see.
const UNSEEN: [(&str, &str); 2] = [
    ("internal_secret", "MINI_SNS_INTERNAL_SECRET or the configuration file"),
    ("encryption_key", "MINI_SNS_ENCRYPTION_KEY or encryption_key_file"),
];

/// Lets the options of a command be given by variables as well.
fn from_environment(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| {
        let id = arg.get_id().as_str().to_uppercase();
        // A switch that may also be set by its variable: `--demo` alone means true.
        let arg = if SWITCHES.contains(&id.as_str()) {
            arg.num_args(0..=1).require_equals(true).default_missing_value("true")
        } else {
            arg
        };
        if arg.is_positional() || id == "HELP" {
            arg
        } else {
            arg.env(format!("MINI_SNS_{id}")).hide_env_values(SECRETS.contains(&id.as_str()))
        }
    })
}

/// Reads the command line; what cannot be used is the one line to show, and help is its text.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Refusal> {
    // What else takes the options of `serve` reads them from the same variables.
    let with_options = ["serve", "restore"];
    let command = with_options
        .iter()
        .fold(Cli::command(), |command, name| command.mut_subcommand(name, from_environment));
    let args: Vec<OsString> = args.into_iter().collect();
    // `mini-sns` alone means `mini-sns serve`, so that its environment variables count there too.
    let args = if args.len() < 2 { vec!["mini-sns".into(), "serve".into()] } else { args };
    let matches = command.try_get_matches_from(args).map_err(|error| Refusal::from(&error))?;
    let given = matches.subcommand().map(|(_, options)| options);
    for (name, elsewhere) in UNSEEN {
        let is_seen = |options: &ArgMatches| {
            options.ids().any(|id| id == name)
                && options.value_source(name) == Some(ValueSource::CommandLine)
        };
        if given.is_some_and(is_seen) {
            let line = format!("{name}: give it by {elsewhere}: all can see command lines");
            return Err(Refusal::Usage(line));
        }
    }
    Cli::from_arg_matches(&matches).map_err(|error| Refusal::from(&error))
}

/// Why the command line was not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It asked for help or the version: this text.
    Help(String),
    /// It cannot be used: this line says why.
    Usage(String),
}

impl From<&clap::Error> for Refusal {
    fn from(error: &clap::Error) -> Self {
        let rendered = error.render();
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return Self::Help(rendered.ansi().to_string());
        }
        let text = rendered.to_string();
        let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
        let mut line = lines.collect::<Vec<_>>().join(" ");
        if line.is_empty() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            "error: a command is missing; see --help".clone_into(&mut line);
        }
        if let Some(name) = environment_of(error) {
            line.push_str(&format!(" (in the environment variable {name})"));
        }
        Self::Usage(line.trim_start_matches("error: ").to_owned())
    }
}

/// The environment variable that a bad value came from, where it did not come from a flag.
fn environment_of(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = arg.split_whitespace().next()?.trim_start_matches("--");
    let name = format!("MINI_SNS_{}", flag.to_uppercase().replace('-', "_"));
    let on_command_line = std::env::args().any(|given| given.starts_with(&format!("--{flag}")));
    (std::env::var_os(&name).is_some() && !on_command_line).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Result<Cli, Refusal> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn alone_it_serves() {
        assert!(matches!(args("mini-sns").unwrap().command, Some(Command::Serve(_))));
    }

    #[test]
    fn a_bad_flag_is_one_line() {
        for line in [
            "mini-sns serve --listen nowhere",
            "mini-sns serve --access-token-ttl soon",
            "mini-sns serve --posts-per-minute 0",
            "mini-sns serve --no-such-flag",
            "mini-sns serve --services user,shop",
            "mini-sns serve --backend aws --internal-secret hush",
            "mini-sns serve --encryption-key hush",
            "mini-sns verify --encryption-key hush",
            "mini-sns serve --env-name Dev",
            "mini-sns serve --email-confirmation maybe",
            "mini-sns restore --at yesterday",
            "mini-sns frobnicate",
            "mini-sns reports list --open --all",
            "mini-sns reports close X --as fine --note x",
            "mini-sns reports close --as kept --note x",
            "mini-sns reports close X --about Y --as kept --note x",
            "mini-sns dlq",
            "mini-sns serve --listen",
        ] {
            let Err(Refusal::Usage(text)) = args(line) else { panic!("{line} was taken") };
            assert!(!text.is_empty() && !text.contains('\n'), "{line}: {text}");
            assert!(!text.contains("hush"), "{text}");
        }
    }
}
