//! How the tests of this crate reach the test bed (`conformance::testbed`).

use std::time::Duration;

use aws::config;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

/// What clients of the test bed share: any credentials do, retries are the real ones, and time-outs
/// are long, since an emulator on a busy machine may be slow.
pub(crate) fn sdk() -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test bed");
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(30))
        .operation_timeout(Duration::from_mins(1))
        .build();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(timeouts)
        .retry_config(config::retries())
        .build()
}
