//! All stacks of one environment, deployed in the order that an operator would.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bed::Region;
use crate::code::packed;
use crate::emulated::{Place, emulated, network};

/// The services' stacks.
pub(crate) const SERVICES: [&str; 4] = ["user", "post", "social", "timeline"];
/// What is deployed.
pub(crate) struct World {
    pub(crate) region: Region,
    pub(crate) env: &'static str,
    /// What the shared stack tells.
    pub(crate) outputs: HashMap<String, String>,
}

impl World {
    /// Deploys what is shared, then the services.
    pub(crate) async fn deploy(env: &'static str) -> Self {
        let region = Region::new();
        region.make_bucket().await;
        for (name, zip) in packed() {
            region.put(&format!("{name}.zip"), zip).await;
        }
        let mut world = Self { region, env, outputs: HashMap::new() };
        let network = network(&world.region.bed.redis);
        world.put_stack("network", &network).await;
        let shared = world.put_stack("shared", &world.template("shared")).await;
        world.outputs = shared.into_iter().collect();
        for service in SERVICES {
            world.put_stack(service, &world.template(service)).await;
        }
        world
    }

    /// A template as the emulator takes it.
    fn template(&self, name: &str) -> Value {
        let folder = std::env::var_os("MINI_SNS_TEMPLATES").map(PathBuf::from).expect(
            "run `cargo xtask test`, or set MINI_SNS_TEMPLATES to what `cargo xtask infra \
             translate` prints",
        );
        let text = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let template: Value = serde_json::from_slice(&text).unwrap();
        let place = Place { services: &self.region.bed.guarded, bucket: &self.region.bucket() };
        emulated(&template, &place)
    }

    async fn put_stack(&self, name: &str, template: &Value) -> Vec<(String, String)> {
        let key = format!("{name}.json");
        let url = self.region.put(&key, template.to_string().into_bytes()).await;
        self.region.deploy(&self.stack(name), self.env, &url).await
    }

    /// A stack's name.
    pub(crate) fn stack(&self, name: &str) -> String {
        format!("mini-sns-{}-{name}", self.env)
    }

    /// The tables that are there.
    pub(crate) async fn tables(&self) -> Vec<String> {
        let told = self.region.call("dynamodb", "DynamoDB_20120810.ListTables", &json!({})).await;
        let names = told["TableNames"].as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// The queues that are there, and how many messages are in each.
    pub(crate) async fn queues(&self) -> HashMap<String, u64> {
        let told = self.region.call("sqs", "AmazonSQS.ListQueues", &json!({})).await;
        let mut all = HashMap::new();
        for url in told["QueueUrls"].as_array().into_iter().flatten() {
            let question = json!({
                "QueueUrl": url,
                "AttributeNames":
                    ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
            });
            let told = self.region.call("sqs", "AmazonSQS.GetQueueAttributes", &question).await;
            let count = told["Attributes"].as_object().unwrap().values();
            let count = count.map(|it| it.as_str().unwrap().parse::<u64>().unwrap()).sum();
            let name = url.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            all.insert(name, count);
        }
        all
    }

    /// What the functions have logged, for messages.
    pub(crate) async fn log(&self, function: &str) -> String {
        let group = format!("/aws/lambda/mini-sns-{}-{function}", self.env);
        let question = json!({"logGroupName": group, "limit": 200});
        let told = self.region.call("logs", "Logs_20140328.FilterLogEvents", &question).await;
        let lines = told["events"].as_array().into_iter().flatten();
        lines.filter_map(|it| it["message"].as_str()).collect::<Vec<_>>().join("\n")
    }
}
