//! `mini-sns users`, `posts`, `reports` and `audit`: what operators do about people and posts, and
//! what they did. Asks the admin listener of the running server, as `dlq` does.

pub(crate) mod reports;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::client::{Server, print_json, print_rows};
use crate::failure::Failure;
use crate::output;

/// What to do about people.
#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    /// Find accounts by the beginning of a handle or name, or by id
    Find {
        /// The text
        text: String,
        #[command(flatten)]
        server: Server,
    },
    /// Show one account
    Show {
        /// Its id or handle
        who: String,
        #[command(flatten)]
        server: Server,
    },
    /// Suspend an account: nobody can sign in to it, and nothing of it is shown
    Suspend(OnUser),
    /// Give a suspended account back
    Restore(OnUser),
    /// End every session of an account
    ResetSessions(OnUser),
    /// Make a link by which somebody who lost the password chooses another one
    ResetPassword {
        /// Address that people type, for the link
        #[arg(long, env = "MINI_SNS_ISSUER", default_value = "http://127.0.0.1:8080")]
        url: String,
        #[command(flatten)]
        on: OnUser,
    },
}

/// What to do about posts.
#[derive(Debug, Subcommand)]
pub(crate) enum Posts {
    /// Delete a post, as its author could
    Remove {
        /// Its id
        id: String,
        #[command(flatten)]
        order: Order,
        #[command(flatten)]
        server: Server,
    },
}

/// An act on one account.
#[derive(Debug, Args)]
pub(crate) struct OnUser {
    /// Its id or handle
    who: String,
    #[command(flatten)]
    order: Order,
    #[command(flatten)]
    server: Server,
}

/// What is noted of an act.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// Why; it is kept with the act
    #[arg(long, visible_alias = "note")]
    reason: String,
    /// Who acts
    #[arg(long, visible_alias = "by", env = "USER", default_value = "operator")]
    operator: String,
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Which acts to list.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Only acts before this one, by its id
    #[arg(long)]
    before: Option<String>,
    /// So many at most
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    server: Server,
}

impl Order {
    fn body(&self) -> Value {
        let Self { reason, operator, dry_run } = self;
        json!({"operator": operator, "reason": reason, "dryRun": dry_run})
    }

    /// What was done, or would be.
    fn told(&self, changed: bool, done: &str) -> String {
        match (changed, self.dry_run) {
            (true, false) => done.to_owned(),
            (true, true) => format!("would be {done}"),
            (false, _) => "nothing to do".to_owned(),
        }
    }
}

/// Does about people what was asked.
pub(crate) async fn users(command: Users) -> Result<(), Failure> {
    match command {
        Users::Find { text, server } => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            let path = format!("/users?{}", query.append_pair("q", &text).finish());
            let found = server.ask(Method::GET, &path, None).await?;
            if server.json { print_json(&found) } else { print_accounts(&found) }
        }
        Users::Show { who, server } => {
            print_json(&server.ask(Method::GET, &format!("/users/{}", part(&who)), None).await?)
        }
        Users::Suspend(on) => on.run("suspend", "suspended").await,
        Users::Restore(on) => on.run("restore", "restored").await,
        Users::ResetSessions(on) => on.run("reset-sessions", "signed out everywhere").await,
        Users::ResetPassword { url, on } => on.reset_password(&url).await,
    }
}

/// Does about posts what was asked.
pub(crate) async fn posts(command: Posts) -> Result<(), Failure> {
    let Posts::Remove { id, order, server } = command;
    let path = format!("/posts/{}/remove", part(&id));
    let answer = server.ask(Method::POST, &path, Some(&order.body())).await?;
    if server.json {
        return print_json(&answer);
    }
    output::line(&format!("{id}: {}", order.told(true, "removed")))
}

/// Lists what operators did.
pub(crate) async fn audit(args: Audit) -> Result<(), Failure> {
    let mut path = format!("/acts?limit={}", args.limit);
    if let Some(before) = &args.before {
        path.push_str(&format!("&before={}", part(before)));
    }
    let found = args.server.ask(Method::GET, &path, None).await?;
    if args.server.json {
        return print_json(&found);
    }
    let columns = [
        ("at", "/at"),
        ("operator", "/operator"),
        ("act", "/act"),
        ("subject", "/subject"),
        ("reason", "/reason"),
    ];
    print_rows(&found, &columns, "Nobody has done anything.")
}

impl OnUser {
    async fn run(&self, act: &str, done: &str) -> Result<(), Failure> {
        let path = format!("/users/{}/{act}", part(&self.who));
        let answer = self.server.ask(Method::POST, &path, Some(&self.order.body())).await?;
        if self.server.json {
            return print_json(&answer);
        }
        let handle = answer["account"]["handle"].as_str().unwrap_or(&self.who);
        let told = self.order.told(answer["changed"] == true, done);
        output::line(&format!("{handle}: {told}"))
    }

    /// Prints the link; what is secret in it stands behind the `#`, which no browser sends.
    async fn reset_password(&self, url: &str) -> Result<(), Failure> {
        let path = format!("/users/{}/reset-password", part(&self.who));
        let mut answer = self.server.ask(Method::POST, &path, Some(&self.order.body())).await?;
        let account = &answer["account"];
        let handle = account["handle"].as_str().unwrap_or(&self.who).to_owned();
        let Some(code) = answer["code"].as_str() else {
            let told = self.order.told(true, "given a link");
            return if self.server.json {
                print_json(&answer)
            } else {
                output::line(&format!("{handle}: {told}"))
            };
        };
        let mut secret = form_urlencoded::Serializer::new(String::new());
        let email = account["email"].as_str().unwrap_or_default();
        let secret = secret.append_pair("email", email).append_pair("code", code).finish();
        let link = format!("{}/forgot#{secret}", url.trim_end_matches('/'));
        if self.server.json {
            answer["link"] = json!(link);
            return print_json(&answer);
        }
        output::line(&format!(
            "{link}\nGood for an hour and for whoever has it: give it to {handle}."
        ))
    }
}

/// A text as one part of a path.
fn part(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn print_accounts(found: &Value) -> Result<(), Failure> {
    let columns = [
        ("userId", "/userId"),
        ("handle", "/handle"),
        ("displayName", "/displayName"),
        ("email", "/email"),
        ("createdAt", "/createdAt"),
        ("suspended", "/suspended/reason"),
    ];
    print_rows(found, &columns, "Nobody found.")
}
