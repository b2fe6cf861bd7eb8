//! HTTP for what is not an API of AWS: the pool's keys, and the other services. The SDK's own
//! client does it, so that a function links one.

use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kernel::problem::told;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("{0}")]
    Unreachable(String),
    #[error("it has over {0} bytes")]
    TooLarge(usize),
}

impl HttpError {
    fn unreachable(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Unreachable(told(error))
    }
}

/// A client that is made when it is first used: it reads the machine's root certificates, which
/// takes longer than the start of a function may. It follows nobody elsewhere, and waits for an
/// answer as long as its caller does.
pub(crate) struct LazyClient {
    connect_timeout: Duration,
    answer_max_bytes: usize,
    made: OnceLock<Connector>,
}

impl LazyClient {
    /// A client that takes so long to connect, and so large an answer, at most.
    pub(crate) const fn new(connect_timeout: Duration, answer_max_bytes: usize) -> Self {
        Self { connect_timeout, answer_max_bytes, made: OnceLock::new() }
    }

    /// The answer, whatever its status, with the whole of its body.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = request.map(SdkBody::from);
        let request = request.try_into().map_err(|error| HttpError::unreachable(&error))?;
        let answer = self.connector().call(request).await;
        let answer = answer.map_err(|error| HttpError::unreachable(&error))?;
        let answer = answer.try_into_http1x().map_err(|error| HttpError::unreachable(&error))?;
        let (head, body) = answer.into_parts();
        match Limited::new(body, self.answer_max_bytes).collect().await {
            Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(HttpError::TooLarge(self.answer_max_bytes))
            }
            Err(error) => Err(HttpError::unreachable(&*error)),
        }
    }

    fn connector(&self) -> &Connector {
        self.made.get_or_init(|| {
            let settings = HttpConnectorSettings::builder().connect_timeout(self.connect_timeout);
            Connector::builder()
                .connector_settings(settings.build())
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                .build()
        })
    }
}
