//! `mini-sns reports`: what people reported, and what operators decided.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Order, part};
use crate::admin::client::{Server, print_json, print_rows};
use crate::failure::Failure;
use crate::output;

/// Characters of a reported text in a table, at most.
const SHOWN_CHARACTERS: usize = 60;

/// What to do about reports.
#[derive(Debug, Subcommand)]
pub(crate) enum Reports {
    /// List open reports, the oldest first; or all of them, the newest first
    List(List),
    /// Show one report: what was reported as it was then, by whom, and how it was closed
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        server: Server,
    },
    /// Close reports; they are kept for 90 days. Removing and suspending are commands of their own
    Close {
        /// A report's id
        #[arg(required_unless_present = "about", conflicts_with = "about")]
        id: Option<String>,
        /// Id of a post or a person: every open report about it, up to 1,000
        #[arg(long, value_name = "ID")]
        about: Option<String>,
        /// What was decided
        #[arg(long = "as", value_name = "VERDICT", value_parser = VERDICTS)]
        verdict: String,
        #[command(flatten)]
        order: Order,
        #[command(flatten)]
        server: Server,
    },
}

/// How a report can be closed.
const VERDICTS: [&str; 5] = ["kept", "removed", "suspended", "duplicate", "other"];

/// Which reports to list.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only open ones, which is what is listed where nothing is said
    #[arg(long, conflicts_with = "all")]
    open: bool,
    /// Closed ones as well
    #[arg(long)]
    all: bool,
    /// Only those listed after this one, by its id
    #[arg(long)]
    after: Option<String>,
    /// So many at most
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    server: Server,
}

/// Does about reports what was asked.
pub(crate) async fn run(command: Reports) -> Result<(), Failure> {
    match command {
        Reports::List(list) => list.run().await,
        Reports::Show { id, server } => {
            print_json(&server.ask(Method::GET, &format!("/reports/{}", part(&id)), None).await?)
        }
        Reports::Close { id, about, verdict, order, server } => {
            let mut body = order.body();
            body["as"] = json!(verdict);
            let below = if about.is_some() { "/reports/about" } else { "/reports" };
            let id = id.or(about).unwrap_or_default();
            let path = format!("{below}/{}/close", part(&id));
            let answer = server.ask(Method::POST, &path, Some(&body)).await?;
            if server.json {
                return print_json(&answer);
            }
            let tell = |id: &str, changed| {
                let told = order.told(changed, &format!("closed as {verdict}"));
                output::line(&format!("{id}: {told}"))
            };
            match answer["items"].as_array() {
                Some(closed) if !closed.is_empty() => closed
                    .iter()
                    .try_for_each(|report| tell(report["reportId"].as_str().unwrap_or(&id), true)),
                _ => tell(&id, answer["changed"] == true),
            }
        }
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        // `--open` is the default, said aloud.
        let state = if self.all && !self.open { "all" } else { "open" };
        let mut path = format!("/reports?state={state}&limit={}", self.limit);
        if let Some(after) = &self.after {
            path.push_str(&format!("&after={}", part(after)));
        }
        let mut found = self.server.ask(Method::GET, &path, None).await?;
        if self.server.json {
            return print_json(&found);
        }
        for report in found["items"].as_array_mut().into_iter().flatten() {
            report["about"] = json!(about(&report["subject"]));
        }
        let columns = [
            ("report", "/reportId"),
            ("at", "/createdAt"),
            ("reason", "/reason"),
            ("about", "/about"),
            ("closed as", "/closed/as"),
        ];
        print_rows(&found, &columns, "Nothing is reported.")
    }
}

/// What is reported, in one line.
fn about(subject: &Value) -> String {
    let text = |name: &str| subject[name].as_str().unwrap_or_default();
    match subject["postId"].as_str() {
        None => format!("user {} ({})", text("userId"), text("handle")),
        Some(post) => {
            let words = text("text").split_whitespace().collect::<Vec<_>>().join(" ");
            let mut shown: String = words.chars().take(SHOWN_CHARACTERS).collect();
            if shown.len() < words.len() {
                shown.push('…');
            }
            format!("post {post} by {}: {shown}", text("authorId"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reported_is_told_in_one_line() {
        let post =
            json!({"postId": "P", "authorId": "A", "text": format!("a\nb {}", "x".repeat(99))});
        let told = about(&post);
        assert!(told.starts_with("post P by A: a b xxx") && told.ends_with("x…"), "{told}");
        let user = json!({"userId": "U", "handle": "loud"});
        assert_eq!(about(&user), "user U (loud)");
    }
}
