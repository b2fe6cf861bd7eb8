//! HTTP to other processes: one POST a read, with a service token over the secret that they share.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kernel::internal::{Claims, Service, TOKEN_SECS, TOKEN_USE, WeakSecret, strong};
use kernel::{Clock, request};

use super::{Asked, Failure, PeersLimits, Way};
use crate::http::LazyClient;

/// Where each service is: what stands before `/internal/...` in its addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// The user service's.
    pub user: String,
    /// The post service's.
    pub post: String,
    /// The social service's.
    pub social: String,
}

impl Addresses {
    fn of(&self, service: Service) -> &str {
        let address = match service {
            Service::User => &self.user,
            Service::Post => &self.post,
            Service::Social => &self.social,
        };
        address.trim_end_matches('/')
    }
}

/// Makes service tokens.
pub struct ServiceToken {
    key: EncodingKey,
    clock: Arc<dyn Clock>,
}

impl ServiceToken {
    /// Tokens over the secret that the processes share.
    pub fn new(secret: &[u8], clock: Arc<dyn Clock>) -> Result<Self, WeakSecret> {
        Ok(Self { key: EncodingKey::from_secret(strong(secret)?), clock })
    }

    /// A token for that service, good for a minute. Cheaper to make than to keep.
    fn mint(&self, service: Service) -> Result<HeaderValue, String> {
        let now = self.clock.now().secs();
        let claims = Claims {
            aud: service.name().to_owned(),
            iat: now,
            exp: now + TOKEN_SECS,
            token_use: TOKEN_USE.to_owned(),
        };
        let header = Header::new(Algorithm::HS256);
        let token = jsonwebtoken::encode(&header, &claims, &self.key);
        let token = token.map_err(|error| error.to_string())?;
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

pub(super) struct Http {
    client: LazyClient,
    addresses: Addresses,
    token: ServiceToken,
}

impl Http {
    pub(super) const fn new(
        addresses: Addresses,
        token: ServiceToken,
        limits: &PeersLimits,
    ) -> Self {
        let client = LazyClient::new(limits.connect_timeout, limits.answer_max_bytes);
        Self { client, addresses, token }
    }
}

#[async_trait]
impl Way for Http {
    async fn send(&self, asked: Asked<'_>) -> Result<Response<Bytes>, Failure> {
        let address = format!("{}{}", self.addresses.of(asked.service), asked.path);
        let mut request = Request::post(address)
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, self.token.mint(asked.service).map_err(Failure::NoProof)?);
        if let Some(trace) = request::trace() {
            request = request.header("traceparent", trace.to_string());
            request = request.header("x-amzn-trace-id", trace.x_ray());
        }
        let request = request.body(Bytes::copy_from_slice(asked.body.get().as_bytes()));
        let request = request.map_err(|error| Failure::Unreachable(error.to_string()))?;
        Ok(self.client.send(request).await?)
    }

    fn renew(&self) -> bool {
        false
    }
}
