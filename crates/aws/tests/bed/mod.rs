//! How the tests of this crate reach the test bed (`conformance::testbed`).

use aws::config;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

/// What clients of the test bed share: any credentials do; time-outs and retries are the real ones.
pub fn sdk() -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test bed");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(config::timeouts())
        .retry_config(config::retries())
        .build()
}
