//! `mini-sns restore`: brings back the data of a moment. Embedded into a new directory, from what
//! `mini-sns serve --backup-dir` copied; on AWS from tables that AWS restored.

#[cfg(feature = "aws")]
mod aws;
mod embedded;

use clap::Args;

use crate::cli::Serve;
use crate::failure::Failure;
use crate::logging;
use crate::settings::Settings;
use crate::values::{Backend, Moment};

/// What to bring back, and to where.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The moment, such as 2026-11-30T10:15:00Z; the last that was copied where left out
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    /// Id of the data whose copies to take, where there are others in the same folder
    #[arg(long, value_name = "ID")]
    of: Option<String>,
    /// Only check that it can be done, and tell what would be; nothing is written
    #[arg(long)]
    dry_run: bool,
    /// What the copies' names have behind the tables' own, as in mini-sns-prod-post-ddb-restored
    #[cfg(feature = "aws")]
    #[arg(long, default_value = "-restored")]
    suffix: String,
    /// Only make timelines anew
    #[cfg(feature = "aws")]
    #[arg(long)]
    timelines_only: bool,
    #[command(flatten)]
    serve: Serve,
}

/// Restores; what was broken off goes on.
pub(crate) async fn run(args: RestoreArgs) -> Result<(), Failure> {
    let read = Settings::read(args.serve.options.clone(), args.serve.config.as_deref());
    let settings = read.map_err(Failure::usage)?;
    logging::start(settings.log_format, &settings.log_filter).map_err(Failure::usage)?;
    match settings.backend {
        Backend::Embedded => {
            #[cfg(feature = "aws")]
            if args.timelines_only {
                let way = "embedded: mini-sns verify --repair";
                return Err(Failure::usage(format!("timelines_only: it is for aws; {way}")));
            }
            embedded::run(args, settings).await
        }
        #[cfg(feature = "aws")]
        Backend::Aws => Box::pin(aws::run(args, settings)).await,
        #[cfg(not(feature = "aws"))]
        Backend::Aws => {
            Err(Failure::usage("backend: this program was built without `--features aws`"))
        }
    }
}
