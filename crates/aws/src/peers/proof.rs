//! How a call proves that it comes from a service: by a service token over the shared secret, or,
//! through API Gateway, by a signature with the process' own credentials (SigV4).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SigningParams, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kernel::Clock;
use kernel::internal::{Claims, Service, TOKEN_SECS, TOKEN_USE, WeakSecret, strong};

/// Credentials are fetched anew when they end sooner than this.
const RENEW_BEFORE: Duration = Duration::from_mins(5);

/// A proof that the caller is a service.
pub enum Proof {
    /// For processes that call each other directly.
    Token(ServiceToken),
    /// For functions behind API Gateway.
    SigV4(SigV4),
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
    fn mint(&self, service: Service) -> Result<String, String> {
        let now = self.clock.now().secs();
        let claims = Claims {
            aud: service.name().to_owned(),
            iat: now,
            exp: now + TOKEN_SECS,
            token_use: TOKEN_USE.to_owned(),
        };
        let header = Header::new(Algorithm::HS256);
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|error| error.to_string())
    }
}

/// Signs requests for API Gateway (service `execute-api`).
pub struct SigV4 {
    credentials: SharedCredentialsProvider,
    region: String,
    clock: Arc<dyn Clock>,
    /// Those that say when they end; others come from memory anyway.
    kept: Mutex<Option<Credentials>>,
}

impl SigV4 {
    /// Signatures with these credentials in that region.
    pub fn new(
        credentials: SharedCredentialsProvider,
        region: impl Into<String>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { credentials, region: region.into(), clock, kept: Mutex::new(None) }
    }

    fn now(&self) -> SystemTime {
        let millis = u64::try_from(self.clock.now().millis()).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    async fn credentials(&self) -> Result<Credentials, String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let good = |credentials: &Credentials| {
            credentials.expiry().is_some_and(|end| end > self.now() + RENEW_BEFORE)
        };
        if let Some(kept) = kept.filter(good) {
            return Ok(kept);
        }
        let fresh = self.credentials.provide_credentials().await;
        let fresh = fresh.map_err(|error| error.to_string())?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh.clone());
        Ok(fresh)
    }

    async fn sign(&self, request: &mut Request<Bytes>) -> Result<(), String> {
        let identity: Identity = self.credentials().await?.into();
        let params: SigningParams<'_> = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("execute-api")
            .time(self.now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let uri = request.uri().to_string();
        let headers = [(CONTENT_TYPE.as_str(), "application/json")].into_iter();
        let body = SignableBody::Bytes(request.body());
        let signable = SignableRequest::new(request.method().as_str(), uri, headers, body)
            .map_err(|error| error.to_string())?;
        let signed = sign(signable, &params).map_err(|error| error.to_string())?;
        let (instructions, _) = signed.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

impl Proof {
    /// Puts the proof into the request; or why there is none.
    pub(super) async fn give(
        &self,
        request: &mut Request<Bytes>,
        service: Service,
    ) -> Result<(), String> {
        match self {
            Self::Token(tokens) => {
                let text = format!("Bearer {}", tokens.mint(service)?);
                let mut value = HeaderValue::from_str(&text).map_err(|error| error.to_string())?;
                value.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, value);
                Ok(())
            }
            Self::SigV4(signatures) => signatures.sign(request).await,
        }
    }

    /// Forgets credentials that were not taken; whether there may be others.
    pub(super) fn renew(&self) -> bool {
        match self {
            Self::Token(_) => false,
            Self::SigV4(signatures) => {
                let mut kept = signatures.kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.take().is_some()
            }
        }
    }
}
