//! Where the services that stand in for AWS listen, for the tests of remote backends.
//!
//! `cargo xtask testbed up` starts them and writes their addresses into a file; the variable
//! `MINI_SNS_TESTBED` names it, `target/testbed.json` is its usual place.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The addresses of one test bed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Testbed {
    /// DynamoDB.
    pub dynamodb: String,
    /// Another DynamoDB, of today's limits, for whole processes.
    pub dynoxide: String,
    /// EventBridge, SQS, Cognito and API Gateway.
    pub services: String,
    /// All of AWS, where roles may do what they may and no more.
    pub guarded: String,
    /// A single Redis.
    pub redis: String,
    /// The nodes of a Redis cluster.
    pub redis_cluster: Vec<String>,
}

impl Testbed {
    /// The test bed that is up. Parts that are not named in its file are empty.
    ///
    /// # Panics
    /// When there is none: a test that needs it must fail, and say what to do.
    pub fn up() -> Self {
        let path = place();
        let text = std::fs::read(&path).ok();
        let found = text.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let Some(found) = found else {
            panic!("start the test bed: cargo xtask testbed up ({} is not there)", path.display())
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let nodes = found["redisCluster"].as_array().map(Vec::as_slice).unwrap_or_default();
        Self {
            dynamodb: text(&found["dynamodb"]),
            dynoxide: text(&found["dynoxide"]),
            services: text(&found["services"]),
            guarded: text(&found["guarded"]),
            redis: text(&found["redis"]),
            redis_cluster: nodes.iter().map(text).collect(),
        }
    }
}

fn place() -> PathBuf {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/testbed.json");
    std::env::var_os("MINI_SNS_TESTBED").map_or_else(usual, PathBuf::from)
}
