//! Calls to the test bed in a region of our own, so that names are as on AWS and nobody else's. (An
//! account of our own would do as well, but the emulator finds another account's API for nobody who
//! does not sign.)

use std::sync::Arc;
use std::time::Duration;

use conformance::testbed::Testbed;
use kernel::Ids;
use kernel::clock::SystemClock;
use kernel::ids::SystemIds;
use reqwest::Method;
use serde_json::{Value, json};

/// Longer than a stack takes.
const PATIENCE: Duration = Duration::from_mins(2);

/// A region on the test bed.
pub(crate) struct Region {
    pub(crate) bed: Testbed,
    name: String,
    http: reqwest::Client,
}

impl Region {
    /// One that nobody else has.
    pub(crate) fn new() -> Self {
        let ids = SystemIds::new(Arc::new(SystemClock));
        let name = format!("zz-{}-1", ids.ulid().to_string().to_lowercase());
        Self { bed: Testbed::up(), name, http: reqwest::Client::new() }
    }

    fn asked(&self, method: Method, path: &str, service: &str) -> reqwest::RequestBuilder {
        let scope = format!("test/20261130/{}/{service}/aws4_request", self.name);
        let signature =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        self.http
            .request(method, format!("{}{path}", self.bed.guarded))
            .header("authorization", signature)
            .header("x-amz-date", "20261130T120000Z")
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The bucket for code and templates. Buckets of all regions have one namespace.
    pub(crate) fn bucket(&self) -> String {
        format!("mini-sns-code-{}", self.name)
    }

    /// Makes the bucket.
    pub(crate) async fn make_bucket(&self) {
        let place = format!(
            "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint>\
             </CreateBucketConfiguration>",
            self.name
        );
        self.put("", place.into_bytes()).await;
    }

    /// Puts an object into the bucket; where it is.
    pub(crate) async fn put(&self, key: &str, body: Vec<u8>) -> String {
        let path = format!("/{}/{key}", self.bucket());
        let answer = self.asked(Method::PUT, &path, "s3").body(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        format!("{}{path}", self.bed.guarded)
    }

    /// An operation of a service that speaks JSON, which must work.
    pub(crate) async fn call(&self, service: &str, target: &str, question: &Value) -> Value {
        let asked = self.asked(Method::POST, "/", service).header("x-amz-target", target);
        let asked = asked.header("content-type", "application/x-amz-json-1.0");
        let answer = asked.body(question.to_string()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{target} {question}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_else(|_| json!({}))
    }

    /// An operation of CloudFormation: status and answer, which is XML.
    async fn formation(&self, action: &str, fields: &[(&str, &str)]) -> (u16, String) {
        self.query("cloudformation", "2010-05-15", action, fields).await
    }

    /// An operation of IAM, which must work: what its answer has in that element.
    pub(crate) async fn iam(
        &self,
        action: &str,
        fields: &[(&str, &str)],
        element: &str,
    ) -> Vec<String> {
        let (status, answer) = self.query("iam", "2010-05-08", action, fields).await;
        assert_eq!(status, 200, "{action}: {answer}");
        inside(&answer, element)
    }

    async fn query(
        &self,
        service: &str,
        version: &str,
        action: &str,
        fields: &[(&str, &str)],
    ) -> (u16, String) {
        let fields = [&[("Action", action), ("Version", version)], fields].concat();
        let asked = self.asked(Method::POST, "/", service);
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let asked = asked.header("content-type", "application/x-www-form-urlencoded").body(form);
        let answer = asked.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Deploys a template, and waits until the stack is there; its outputs.
    pub(crate) async fn deploy(&self, stack: &str, env: &str, url: &str) -> Vec<(String, String)> {
        let fields = [
            ("StackName", stack),
            ("TemplateURL", url),
            ("Parameters.member.1.ParameterKey", "Env"),
            ("Parameters.member.1.ParameterValue", env),
            ("Capabilities.member.1", "CAPABILITY_NAMED_IAM"),
        ];
        let (status, answer) = self.formation("CreateStack", &fields).await;
        assert_eq!(status, 200, "{stack}: {answer}");
        let told = self.settled(stack).await;
        if inside(&told, "StackStatus") != ["CREATE_COMPLETE"] {
            let (_, events) = self.formation("DescribeStackEvents", &fields[..1]).await;
            panic!("{stack}: {told}\n{:?}", inside(&events, "ResourceStatusReason"));
        }
        inside(&told, "OutputKey").into_iter().zip(inside(&told, "OutputValue")).collect()
    }

    /// Removes a stack, which must then be gone.
    pub(crate) async fn remove(&self, stack: &str) {
        let (status, answer) = self.formation("DeleteStack", &[("StackName", stack)]).await;
        assert_eq!(status, 200, "{stack}: {answer}");
        let told = self.settled(stack).await;
        let left = inside(&told, "StackStatus");
        assert!(left.is_empty() || left == ["DELETE_COMPLETE"], "{stack}: {told}");
    }

    /// Whether a stack may not go, for others stand on it.
    pub(crate) async fn is_needed(&self, stack: &str) -> bool {
        let (status, answer) = self.formation("DeleteStack", &[("StackName", stack)]).await;
        status == 400 && answer.contains("is imported by stack")
    }

    /// What is known of a stack once nothing is under way.
    async fn settled(&self, stack: &str) -> String {
        let settled = async {
            loop {
                let fields = [("StackName", stack)];
                let (_, told) = self.formation("DescribeStacks", &fields).await;
                if !told.contains("IN_PROGRESS</StackStatus>") {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("the stack settles")
    }
}

/// The texts of all elements of that name.
fn inside(xml: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let parts = xml.split(&open).skip(1);
    parts.map(|part| part.split(&close).next().unwrap().to_owned()).collect()
}
