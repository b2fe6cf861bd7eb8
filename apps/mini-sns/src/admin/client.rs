//! The admin listener as commands ask it: `dlq`, `users`, `posts`, `reports`, `audit`, `backup`. It
//! holds what they are about; and what it answers is printed here.

use std::path::PathBuf;

use clap::Args;
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use reqwest::Method;
use serde_json::Value;

use super::token;
use crate::failure::Failure;
use crate::output;

/// Which server to ask, and how to print.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Address of its admin listener
    #[arg(long, env = "MINI_SNS_ADMIN", default_value = "http://127.0.0.1:9090")]
    admin: String,
    /// Its admin token, where it asks for one
    #[arg(long, env = "MINI_SNS_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// The same in a file that only its owner may read
    #[arg(long, env = "MINI_SNS_ADMIN_TOKEN_FILE", value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Server {
    /// What it answers to a request; a refusal is a failure in its own words.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let response = self.send(method, path, body).await?;
        let good = response.status().is_success();
        let answer: Value = response.json().await.map_err(|error| self.failed(&error))?;
        if good {
            return Ok(answer);
        }
        let detail = answer["detail"].as_str().unwrap_or("the server refused");
        Err(Failure::failed(detail))
    }

    /// The text that it has there.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        let response = self.send(Method::GET, path, None).await?;
        let response = response.error_for_status().map_err(|error| self.failed(&error))?;
        response.text().await.map_err(|error| self.failed(&error))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<reqwest::Response, Failure> {
        let url = format!("{}{path}", self.admin.trim_end_matches('/'));
        let mut request = reqwest::Client::new().request(method, &url);
        let token = token::given(self.admin_token.as_deref(), self.admin_token_file.as_deref());
        if let Some(token) = token.map_err(Failure::usage)? {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &reqwest::Error) -> Failure {
        let cause = if error.is_connect() { "no server answers there" } else { "no answer" };
        let hint = "is it running, and is this its admin listener (--admin)?";
        if error.is_builder() {
            return Failure::usage(format!("admin: {} is not an address", self.admin));
        }
        Failure::failed(format!("{}: {cause}; {hint}", self.admin))
    }
}

pub(crate) fn print_json(value: &Value) -> Result<(), Failure> {
    output::line(&format!("{value:#}"))
}

/// A table of the items that were found, one column for each heading: what its JSON pointer finds.
pub(crate) fn print_rows(
    found: &Value,
    columns: &[(&str, &str)],
    nothing: &str,
) -> Result<(), Failure> {
    let items = found["items"].as_array().map_or(&[][..], Vec::as_slice);
    if items.is_empty() {
        return output::line(nothing);
    }
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(columns.iter().map(|(heading, _)| *heading));
    for item in items {
        table.add_row(columns.iter().map(|(_, pointer)| match item.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => "-".to_owned(),
            Some(other) => other.to_string(),
        }));
    }
    output::line(&table.to_string())
}
