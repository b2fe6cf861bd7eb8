//! The options as the AWS backend wants them.

use std::sync::Arc;
use std::time::Duration;

use aws::cognito;
use aws::config::Connection;
use aws::peers::{Addresses, PeersLimits, RemotePeers, ServiceToken};
use aws::redis::feed::FeedLimits;
use aws::redis::{self, Redis};
use edge::internal::{Guard, TokenVerifier};
use kernel::Clock;

use super::count;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::values::Secret;

/// What is wrong with an option.
fn bad(option: &'static str) -> impl Fn(&dyn std::error::Error) -> Failure {
    move |error| Failure::usage(format!("{option}: {error}"))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Settings {
    pub(crate) fn aws_connection(&self) -> Connection {
        Connection {
            region: self.aws_region.clone(),
            dynamodb_url: self.dynamodb_url.clone(),
            services_url: self.aws_url.clone(),
        }
    }

    pub(crate) fn aws_bus(&self) -> aws::bus::Config {
        aws::bus::Config {
            env: self.env_name.0.clone(),
            services_url: self.aws_url.clone(),
            policy: self.queues(),
            ..aws::bus::Config::default()
        }
    }

    /// The pool, with what stands beside it.
    pub(crate) fn cognito(&self) -> cognito::Config {
        let text = |option: &Option<String>| option.clone().unwrap_or_default();
        let pool =
            cognito::Config::of_pool(text(&self.cognito_pool_id), text(&self.cognito_client_id));
        cognito::Config {
            key_set_url: self.cognito_keys_url.clone().unwrap_or_else(|| pool.key_set_url.clone()),
            access_token_ttl_secs: self.access_token_ttl.0.as_secs().max(1),
            refresh_token_ttl_secs: self.refresh_token_ttl.0.as_secs().max(1),
            failed_sign_ins_max: count(self.sign_in_failures_max),
            failed_sign_ins_window_secs: self.sign_in_window.0.as_secs().max(1),
            session_recheck_millis: millis(self.session_recheck.0),
            ..pool
        }
    }

    /// The connection to Redis, where there is one.
    pub(crate) fn redis(&self) -> Result<Option<Redis>, Failure> {
        let Some(urls) = &self.redis_urls else { return Ok(None) };
        let urls: Vec<_> = urls.0.iter().map(|url| url.reveal().to_owned()).collect();
        let settings = redis::Settings {
            cluster: urls.len() > 1,
            urls,
            prefix: format!("mini-sns:{}", self.env_name.0),
            ..redis::Settings::default()
        };
        Redis::open(&settings).map(Some).map_err(|error| bad("redis_urls")(&error))
    }

    pub(crate) fn redis_feed(&self) -> FeedLimits {
        FeedLimits { kept: self.feed_cache_ttl.0, ..FeedLimits::default() }
    }

    fn secrets(&self) -> Vec<&[u8]> {
        let secrets = self.internal_secret.iter().flat_map(|secrets| &secrets.0);
        secrets.map(|secret| Secret::reveal(secret).as_bytes()).collect()
    }

    /// The services of other processes; none where this process serves all.
    pub(crate) fn http_peers(
        &self,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Arc<RemotePeers>>, Failure> {
        if self.serves_all() {
            return Ok(None);
        }
        let url = |option: &Option<String>| option.clone().unwrap_or_default();
        let addresses = Addresses {
            user: url(&self.peer_user_url),
            post: url(&self.peer_post_url),
            social: url(&self.peer_social_url),
        };
        let secret = self.secrets().first().copied().unwrap_or_default();
        let token = ServiceToken::new(secret, Arc::clone(clock));
        let token = token.map_err(|error| bad("internal_secret")(&error))?;
        let limits = PeersLimits::default();
        Ok(Some(RemotePeers::over_http(addresses, token, limits, clock)))
    }

    /// Who lets other processes in.
    pub(crate) fn guard(&self, clock: &Arc<dyn Clock>) -> Result<Guard, Failure> {
        let verifier = TokenVerifier::new(&self.secrets(), Arc::clone(clock));
        verifier.map(Guard::Token).map_err(|error| bad("internal_secret")(&error))
    }
}
