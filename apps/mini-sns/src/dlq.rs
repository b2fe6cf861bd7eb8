//! `mini-sns dlq`: the events that could not be handled. Asks the admin listener of the running
//! server, since that holds the data.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::client::{Server, print_json, print_rows};
use crate::failure::Failure;
use crate::output;

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List dead letters
    List {
        /// Only those of this queue
        #[arg(long)]
        queue: Option<String>,
        #[command(flatten)]
        server: Server,
    },
    /// Show one dead letter: its event, reason and trace
    Show {
        /// Its id, as `list` prints it
        id: String,
        #[command(flatten)]
        server: Server,
    },
    /// Queue dead letters again
    Redrive {
        #[command(flatten)]
        meant: Meant,
        #[command(flatten)]
        server: Server,
    },
    /// Drop dead letters for good
    Purge {
        #[command(flatten)]
        meant: Meant,
        #[command(flatten)]
        server: Server,
    },
}

/// Which dead letters are meant.
#[derive(Debug, Args)]
pub(crate) struct Meant {
    /// One, by its id
    #[arg(required_unless_present = "queue", conflicts_with = "queue")]
    id: Option<String>,
    /// All of this queue
    #[arg(long)]
    queue: Option<String>,
    /// Only tell how many there are
    #[arg(long)]
    dry_run: bool,
}

/// Does as asked.
pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { queue, server } => {
            let mut path = "/dlq".to_owned();
            if let Some(queue) = queue {
                path.push_str(&format!("?queue={queue}"));
            }
            let found = server.ask(Method::GET, &path, None).await?;
            if server.json { print_json(&found) } else { print_table(&found) }
        }
        Command::Show { id, server } => {
            print_json(&server.ask(Method::GET, &format!("/dlq/{id}"), None).await?)
        }
        Command::Redrive { meant, server } => {
            server.change("/dlq/redrive", &meant, "queued again").await
        }
        Command::Purge { meant, server } => server.change("/dlq/purge", &meant, "dropped").await,
    }
}

impl Server {
    async fn change(&self, path: &str, meant: &Meant, done: &str) -> Result<(), Failure> {
        let Meant { id, queue, dry_run } = meant;
        let body = json!({"id": id, "queue": queue, "dryRun": dry_run});
        let answer = self.ask(Method::POST, path, Some(&body)).await?;
        if self.json {
            print_json(&answer)
        } else {
            let would = if meant.dry_run { "would be " } else { "" };
            output::line(&format!("{} {would}{done}", answer["count"]))
        }
    }
}

fn print_table(found: &Value) -> Result<(), Failure> {
    let columns = [
        ("id", "/id"),
        ("event", "/message/event/type"),
        ("died at", "/diedAt"),
        ("receives", "/receives"),
        ("reason", "/reason"),
    ];
    print_rows(found, &columns, "No dead letters.")
}
