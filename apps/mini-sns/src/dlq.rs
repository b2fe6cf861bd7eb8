//! `mini-sns dlq`: the events that could not be handled. Asks the admin listener of the running
//! server, since that holds the data.

use clap::{Args, Subcommand};
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use reqwest::Method;
use serde_json::{Value, json};

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
#[group(required = true, multiple = false)]
pub(crate) struct Meant {
    /// One, by its id
    id: Option<String>,
    /// All of this queue
    #[arg(long)]
    queue: Option<String>,
}

/// Which server to ask, and how to print.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Address of its admin listener
    #[arg(long, env = "MINI_SNS_ADMIN", default_value = "http://127.0.0.1:9090")]
    admin: String,
    /// Its admin token, where it asks for one
    #[arg(long, env = "MINI_SNS_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
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
        let body = match (&meant.id, &meant.queue) {
            (Some(id), _) => json!({"id": id}),
            (_, queue) => json!({"queue": queue}),
        };
        let answer = self.ask(Method::POST, path, Some(&body)).await?;
        if self.json {
            print_json(&answer)
        } else {
            output::line(&format!("{} {done}", answer["count"]))
        }
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.admin.trim_end_matches('/'));
        let mut request = reqwest::Client::new().request(method, &url);
        if let Some(token) = &self.admin_token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let failed = |error: reqwest::Error| {
            let cause = if error.is_connect() { "no server answers there" } else { "no answer" };
            let hint = "is it running, and is this its admin listener (--admin)?";
            if error.is_builder() {
                return Failure::usage(format!("admin: {} is not an address", self.admin));
            }
            Failure::failed(format!("{}: {cause}; {hint}", self.admin))
        };
        let response = request.send().await.map_err(failed)?;
        let good = response.status().is_success();
        let answer: Value = response.json().await.map_err(failed)?;
        if good {
            return Ok(answer);
        }
        let detail = answer["detail"].as_str().unwrap_or("the server refused");
        Err(Failure::failed(detail))
    }
}

pub(crate) fn print_json(value: &Value) -> Result<(), Failure> {
    output::line(&format!("{value:#}"))
}

fn print_table(found: &Value) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["id", "event", "died at", "receives", "reason"]);
    let items = found["items"].as_array().map_or(&[][..], Vec::as_slice);
    for letter in items {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null => "-".to_owned(),
            other => other.to_string(),
        };
        table.add_row([
            text(&letter["id"]),
            text(&letter["message"]["event"]["type"]),
            text(&letter["diedAt"]),
            text(&letter["receives"]),
            text(&letter["reason"]),
        ]);
    }
    if items.is_empty() {
        output::line("No dead letters.")
    } else {
        output::line(&table.to_string())
    }
}
