//! Signatures of requests that no SDK sends (Lambda's Invoke, letters by SES), with the process's
//! own credentials (SigV4).

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
use http::Request;
use kernel::Clock;

/// Credentials are fetched anew when they end sooner than this.
const RENEW_BEFORE: Duration = Duration::from_mins(5);

/// Signs requests to a service of AWS.
pub struct SigV4 {
    credentials: SharedCredentialsProvider,
    region: String,
    service: &'static str,
    clock: Arc<dyn Clock>,
    /// Those that say when they end; others come from memory anyway.
    kept: Mutex<Option<Credentials>>,
}

impl SigV4 {
    /// Signatures for Lambda with these credentials in that region.
    pub fn new(
        credentials: SharedCredentialsProvider,
        region: impl Into<String>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let kept = Mutex::new(None);
        Self { credentials, region: region.into(), service: "lambda", clock, kept }
    }

    /// The same for another service.
    pub(crate) fn of_service(self, service: &'static str) -> Self {
        Self { service, ..self }
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

    /// Signs a request, its headers of now among it; or why it cannot.
    pub(crate) async fn sign(&self, request: &mut Request<Bytes>) -> Result<(), String> {
        let identity: Identity = self.credentials().await?.into();
        let params: SigningParams<'_> = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(self.now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let uri = request.uri().to_string();
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("")));
        let body = SignableBody::Bytes(request.body());
        let signable = SignableRequest::new(request.method().as_str(), uri, headers, body)
            .map_err(|error| error.to_string())?;
        let signed = sign(signable, &params).map_err(|error| error.to_string())?;
        let (instructions, _) = signed.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }

    /// Forgets credentials that were not taken; whether there may be others.
    pub(crate) fn renew(&self) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}
