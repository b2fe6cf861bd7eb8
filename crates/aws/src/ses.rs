//! Letters by SES, over its HTTP interface: one call, signed by hand, since its SDK would weigh
//! more than the rest of the function that sends them.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use kernel::Problem;
use kernel::mail::{Letter, Mailer};
use serde_json::json;

use crate::http::{HttpError, LazyClient};
use crate::peers::SigV4;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// What SES calls its refusal. What it says besides may hold the address.
const ERROR_TYPE: &str = "x-amzn-errortype";

/// Why SES did not take a letter.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    #[error("SES refused the letter: {0} {1}")]
    Refused(StatusCode, String),
    #[error("SES does not answer: {0}")]
    Silent(#[from] HttpError),
    #[error("SES does not answer in time")]
    Late,
    #[error("the letter cannot be signed: {0}")]
    Unsigned(String),
}

/// Hands letters to SES.
pub struct Ses {
    client: LazyClient,
    url: String,
    from: String,
    signature: SigV4,
}

impl Ses {
    /// Letters from `from`, such as `Mini-SNS <sns@example.org>`, by SES at `url` or in the region.
    /// None where the sender cannot be one.
    pub fn new(url: Option<&str>, region: &str, from: &str, signature: SigV4) -> Option<Self> {
        let good = from.is_ascii() && from.contains('@') && !from.contains(char::is_control);
        let usual = || format!("https://email.{region}.amazonaws.com");
        let url = url.map_or_else(usual, |url| url.trim_end_matches('/').to_owned());
        good.then(|| Self {
            client: LazyClient::new(CONNECT_TIMEOUT, ANSWER_BYTES_MAX),
            url: format!("{url}/v2/email/outbound-emails"),
            from: from.to_owned(),
            signature: signature.of_service("ses"),
        })
    }

    async fn hand_over(&self, letter: Letter) -> Result<(), NotSent> {
        let text = |text: String| json!({"Data": text, "Charset": "UTF-8"});
        let body = json!({
            "FromEmailAddress": self.from,
            "Destination": {"ToAddresses": [letter.to]},
            "Content": {"Simple": {
                "Subject": text(letter.subject),
                "Body": {"Text": text(letter.text)},
            }},
        });
        let mut request = Request::post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .body(Bytes::from(body.to_string()))
            .map_err(|error| NotSent::Unsigned(error.to_string()))?;
        self.signature.sign(&mut request).await.map_err(NotSent::Unsigned)?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.client.send(request)).await;
        let answer = answer.map_err(|_| NotSent::Late)??;
        if answer.status().is_success() {
            return Ok(());
        }
        if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            self.signature.renew();
        }
        let kind = answer.headers().get(ERROR_TYPE).and_then(|value| value.to_str().ok());
        Err(NotSent::Refused(answer.status(), kind.unwrap_or("it does not say why").to_owned()))
    }
}

#[async_trait]
impl Mailer for Ses {
    async fn send(&self, letter: Letter) -> Result<(), Problem> {
        self.hand_over(letter).await.map_err(Problem::unavailable)
    }
}
