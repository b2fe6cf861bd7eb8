//! HTTP for what is not an API of AWS: the pool's keys, and the other services.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Error};

/// A client that is made when it is first used: it reads the machine's root certificates, which
/// takes longer than the start of a function may.
pub(crate) struct LazyClient {
    connect_timeout: Duration,
    made: OnceLock<Client>,
}

impl LazyClient {
    /// A client that takes so long to connect at most, and follows nobody elsewhere.
    pub(crate) const fn new(connect_timeout: Duration) -> Self {
        Self { connect_timeout, made: OnceLock::new() }
    }

    /// The client. Fails where no TLS can be set up.
    pub(crate) fn get(&self) -> Result<&Client, Error> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let builder = Client::builder().no_proxy().redirect(Policy::none());
        let client = builder.connect_timeout(self.connect_timeout).build()?;
        Ok(self.made.get_or_init(|| client))
    }
}
