//! What every client of AWS shares: the region, credentials, time-outs, retries, and where each
//! service is found.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

pub use aws_config::SdkConfig;
use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_smithy_runtime_api::client::identity::{
    IdentityFuture, ResolveCachedIdentity, SharedIdentityCache, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// Where AWS is, when it is not where it usually is. Everything else (credentials, profile) comes
/// from the environment as the SDK documents.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The region; the environment's when none.
    pub region: Option<String>,
    /// The address of DynamoDB, in place of the region's.
    pub dynamodb_url: Option<String>,
    /// The address of EventBridge, SQS and Cognito, in place of the region's.
    pub services_url: Option<String>,
}

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Time for one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Time for an operation with its retries: less than a request's deadline of 2.5 s.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(2_400);
/// Attempts at one operation.
const ATTEMPTS_MAX: u32 = 3;

impl Connection {
    /// What the clients of one process share: one HTTP client, one cache of credentials.
    pub async fn load(&self) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .timeout_config(timeouts())
            .retry_config(retries());
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        loader.load().await
    }
}

/// How long a client waits.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

/// How often a client tries: the SDK's standard way, with its quota that ends storms of retries.
pub fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(Duration::from_millis(50))
}

/// Credentials that AWS calls expired are fetched anew at once. The SDK's own cache holds them
/// until the expiry that they were given with, however often AWS refuses them.
///
/// A client takes it both as its `identity_cache` and as a `retry_classifier`. It reads the
/// service's answer, so it fits every service that speaks JSON.
#[derive(Clone, Debug)]
pub struct Renewal(Arc<RwLock<SharedIdentityCache>>);

impl Renewal {
    /// An empty cache.
    pub fn new() -> Self {
        Self(Arc::new(RwLock::new(IdentityCache::lazy().build())))
    }

    fn current(&self) -> SharedIdentityCache {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn forget(&self) {
        let empty = IdentityCache::lazy().build();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = empty;
    }
}

impl Default for Renewal {
    fn default() -> Self {
        Self::new()
    }
}

impl ResolveCachedIdentity for Renewal {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        config: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let cache = self.current();
        IdentityFuture::new(async move {
            cache.resolve_cached_identity(resolver, components, config).await
        })
    }
}

impl ClassifyRetry for Renewal {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        if !is_expired(context) {
            return RetryAction::NoActionIndicated;
        }
        self.forget();
        RetryAction::server_error()
    }

    fn name(&self) -> &'static str {
        "expired credentials"
    }
}

fn is_expired(context: &InterceptorContext) -> bool {
    const CODE: &[u8] = b"ExpiredToken";
    let Some(answer) = context.response().filter(|answer| answer.status().is_client_error()) else {
        return false;
    };
    let body = answer.body().bytes().unwrap_or_default();
    body.windows(CODE.len()).any(|window| window == CODE)
}
