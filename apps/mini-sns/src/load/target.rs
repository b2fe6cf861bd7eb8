//! The address under load, and connecting to it.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::ServerName;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Time a connection may take to open.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A Mini-SNS: `http://host[:port]` or `https://host[:port]`, with a path before the routes where
/// it has one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    secure: bool,
    host: String,
    port: u16,
    /// What stands before every route; empty or `/something`, without a slash at its end.
    pub(super) prefix: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) =
            text.split_once("://").ok_or("an http:// or https:// URL is wanted")?;
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(format!("`{scheme}` is neither http nor https")),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if path.contains(['?', '#', ' ']) || authority.contains(['@', '?', '#', ' ']) {
            return Err("a URL without a user, a query or a fragment is wanted".into());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
                (host, port)
            }
            _ => (authority, if secure { 443 } else { 80 }),
        };
        if host.is_empty() {
            return Err("the URL names no host".into());
        }
        let prefix = path.trim_end_matches('/').to_owned();
        Ok(Self { secure, host: host.to_owned(), port, prefix })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

/// A connection's bytes, in the clear or through TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Target {
    /// `host:port`, as the `Host` header wants it.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The address of its WebSocket for the owner of a token.
    pub(super) fn socket_url(&self, token: &str) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}/ws?token={token}", self.authority(), self.prefix)
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>> {
        tokio::time::timeout(CONNECT_MAX, self.open())
            .await
            .map_err(anyhow::Error::from)
            .and_then(|opened| opened)
            .with_context(|| format!("cannot connect to {self}"))
    }

    async fn open(&self) -> Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(self.authority()).await?;
        stream.set_nodelay(true)?;
        if !self.secure {
            return Ok(Box::new(stream));
        }
        let host = self.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host)?;
        Ok(Box::new(tls()?.connect(name, stream).await?))
    }
}

fn tls() -> Result<TlsConnector> {
    static CONFIG: LazyLock<Result<Arc<rustls::ClientConfig>, rustls::Error>> =
        LazyLock::new(|| rustls::ClientConfig::with_platform_verifier().map(Arc::new));
    let config = CONFIG.as_ref().map_err(Clone::clone).context("cannot set up TLS")?;
    Ok(TlsConnector::from(Arc::clone(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_its_default_port() {
        for (text, shown) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://localhost/", "http://localhost:80"),
            ("https://sns.example.com", "https://sns.example.com:443"),
            ("https://x.example.com/prod/", "https://x.example.com:443/prod"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[::1]", "http://[::1]:80"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "localhost:8080", "ftp://x", "http://", "http://x:port", "http://a@b/?c"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
