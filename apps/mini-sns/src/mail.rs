//! Letters by SMTP, or into the log where no server is named.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::Problem;
use kernel::mail::{Letter, Mailer};
use lettre::message::{Mailbox, header};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use crate::failure::Failure;
use crate::settings::Settings;

/// Who brings letters, as the options say.
pub(crate) fn mailer(settings: &Settings) -> Result<Arc<dyn Mailer>, Failure> {
    let Some(url) = &settings.smtp_url else { return Ok(Arc::new(Log)) };
    let from = settings.mail_from.as_deref().unwrap_or_default();
    let from = from.parse::<Mailbox>().map_err(|error| {
        Failure::usage(format!("mail_from: `Mini-SNS <sns@example.org>` is wanted: {error}"))
    })?;
    // The address may hold a password, so it is not repeated.
    let transport =
        AsyncSmtpTransport::<Tokio1Executor>::from_url(url.reveal()).map_err(|error| {
            Failure::usage(format!("smtp_url: smtps://user:password@host is wanted: {error}"))
        })?;
    Ok(Arc::new(Smtp { transport: transport.build(), from }))
}

struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

#[async_trait]
impl Mailer for Smtp {
    async fn send(&self, letter: Letter) -> Result<(), Problem> {
        let to = letter.to.parse::<Mailbox>().map_err(Problem::internal)?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(letter.subject)
            .header(header::ContentType::TEXT_PLAIN)
            .body(letter.text)
            .map_err(Problem::internal)?;
        self.transport.send(message).await.map(drop).map_err(Problem::unavailable)
    }
}

/// For trying out: whoever reads the log has the codes.
struct Log;

#[async_trait]
impl Mailer for Log {
    async fn send(&self, letter: Letter) -> Result<(), Problem> {
        let Letter { to, subject, text } = letter;
        tracing::info!(to, subject, text, "NOT SENT, for there is no smtp_url: a letter");
        Ok(())
    }
}
