//! Calls to the test bed that nobody but Lambda itself makes: it receives from queues, reads
//! streams, and deletes what is done. AWS's JSON protocol, since no adapter of ours needs them.

use serde_json::{Value, json};

/// One service of the test bed.
pub(crate) struct Service {
    http: reqwest::Client,
    url: String,
    /// The service in the signature's scope, by which the emulator finds it.
    scope: &'static str,
    /// What stands before an operation's name.
    target: &'static str,
}

impl Service {
    pub(crate) fn sqs(url: &str) -> Self {
        Self::new(url, "sqs", "AmazonSQS")
    }

    pub(crate) fn dynamodb(url: &str) -> Self {
        Self::new(url, "dynamodb", "DynamoDB_20120810")
    }

    pub(crate) fn streams(url: &str) -> Self {
        Self::new(url, "dynamodb", "DynamoDBStreams_20120810")
    }

    fn new(url: &str, scope: &'static str, target: &'static str) -> Self {
        Self { http: reqwest::Client::new(), url: url.to_owned(), scope, target }
    }

    /// Calls an operation, which must work.
    pub(crate) async fn call(&self, operation: &str, question: &Value) -> Value {
        let scope = format!("test/20261124/us-east-1/{}/aws4_request", self.scope);
        let signature =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        let asked = self.http.post(&self.url).header("authorization", signature);
        let asked = asked
            .header("x-amz-date", "20261124T120000Z")
            .header("x-amz-target", format!("{}.{operation}", self.target))
            .header("content-type", "application/x-amz-json-1.0")
            .body(question.to_string());
        let answer = asked.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{operation} {question}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_else(|_| json!({}))
    }
}
