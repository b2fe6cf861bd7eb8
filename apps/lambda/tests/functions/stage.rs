//! Mini-SNS on functions, on the test bed: everything around them that AWS does, done here. Events
//! move when a test says so ([`Stage::settled`]), so nothing waits for anything.

use std::collections::HashMap;
use std::sync::Arc;

use aws::bus::{self, AwsBus};
use aws::{cognito, config, dynamodb};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use conformance::testbed::Testbed;
use kernel::Ids;
use kernel::bus::QueueSpec;
use kernel::clock::SystemClock;
use kernel::ids::SystemIds;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::bootstraps::Functions;
use crate::calls::Service;
use crate::connections::Connections;
use crate::gateway::{self, Later};
use crate::invocations;

/// The services whose tables have an outbox.
const TELLING: [&str; 3] = ["user", "post", "social"];

/// The queues, and the function that consumes each.
fn queues() -> Vec<(QueueSpec, &'static str)> {
    let of = |queues: &[QueueSpec], function| {
        queues.iter().map(|queue| (*queue, function)).collect::<Vec<_>>()
    };
    [
        of(users::QUEUES, "react-users"),
        of(posts::QUEUES, "react-posts"),
        of(social::QUEUES, "react-social"),
        of(timeline::QUEUES, "react-timeline"),
    ]
    .concat()
}

/// A stream as Lambda reads it.
struct Stream {
    service: &'static str,
    arn: String,
    /// Where each shard is read on.
    iterators: HashMap<String, Option<String>>,
    /// What was read and not taken by the relay yet.
    records: Vec<Value>,
}

/// Everything.
pub(crate) struct Stage {
    pub(crate) env: String,
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    pub(crate) connections: Arc<Connections>,
    pub(crate) sqs: Service,
    pub(crate) dynamodb: Service,
    functions: Later,
    from_streams: Service,
    streams: Mutex<Vec<Stream>>,
    queue_urls: HashMap<&'static str, String>,
}

fn sdk() -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test bed");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(config::retries())
        .build()
}

impl Stage {
    /// Makes tables, bus, queues and pool, in an environment that nobody else has.
    pub(crate) async fn new() -> Self {
        let (bed, sdk) = (Testbed::up(), sdk());
        let ids = SystemIds::new(Arc::new(SystemClock));
        let env = format!("l{}", ids.ulid().to_string().to_lowercase());
        let tables = dynamodb::client(&sdk, Some(&bed.dynoxide));
        for service in ["user", "post", "social", "timeline"] {
            dynamodb::create(&tables, &dynamodb::name(&env, service)).await.unwrap();
        }
        let services_url = Some(bed.services.clone());
        let bus = bus::Config { env: env.clone(), services_url, ..bus::Config::default() };
        let specs: Vec<_> = queues().iter().map(|(queue, _)| *queue).collect();
        AwsBus::new(&sdk, bus.clone(), Arc::new(SystemClock), &specs).create().await.unwrap();
        let pools = cognito::client(&sdk, Some(&bed.services));
        let pool = cognito::create(&pools, &env).await.unwrap();
        let keys_url = format!("{}/{}/.well-known/jwks.json", bed.services, pool.user_pool_id);

        let (connections, connections_url) = Connections::start().await;
        let functions = Later::default();
        let url = gateway::start(Arc::clone(&functions)).await;
        let lambda_url = invocations::start(Arc::clone(&functions)).await;
        let _ = functions.set(Functions::new(&[
            ("MINI_SNS_ENV_NAME", &env),
            ("MINI_SNS_DYNAMODB_URL", &bed.dynoxide),
            ("MINI_SNS_AWS_URL", &bed.services),
            ("MINI_SNS_COGNITO_POOL_ID", &pool.user_pool_id),
            ("MINI_SNS_COGNITO_CLIENT_ID", &pool.client_id),
            ("MINI_SNS_COGNITO_KEYS_URL", &keys_url),
            ("MINI_SNS_REDIS_URLS", &bed.redis),
            ("MINI_SNS_LAMBDA_URL", &lambda_url),
            ("MINI_SNS_CONNECTIONS_URL", &connections_url),
            ("MINI_SNS_CORS_ORIGINS", "https://app.example"),
            ("MINI_SNS_LOG_FILTER", "debug,lambda=trace,lambda_runtime=trace"),
            // The emulators are slow, and the machine may be busy.
            ("MINI_SNS_REQUEST_TIMEOUT", "30s"),
        ]));
        let (sqs, dynamodb) = (Service::sqs(&bed.services), Service::dynamodb(&bed.dynoxide));
        let mut queue_urls = HashMap::new();
        for (queue, _) in queues() {
            let name = bus.queue_name(queue.name);
            let found = sqs.call("GetQueueUrl", &json!({"QueueName": name})).await;
            queue_urls.insert(queue.name, found["QueueUrl"].as_str().unwrap().to_owned());
        }
        let mut streams = Vec::new();
        for service in TELLING {
            let name = dynamodb::name(&env, service);
            let told = dynamodb.call("DescribeTable", &json!({"TableName": name})).await;
            let arn = told["Table"]["LatestStreamArn"].as_str().unwrap().to_owned();
            let (iterators, records) = (HashMap::new(), Vec::new());
            streams.push(Stream { service, arn, iterators, records });
        }
        Self {
            env,
            url,
            http: reqwest::Client::new(),
            connections,
            sqs,
            dynamodb,
            functions,
            from_streams: Service::streams(&bed.dynoxide),
            streams: Mutex::new(streams),
            queue_urls,
        }
    }

    pub(crate) fn functions(&self) -> &Functions {
        self.functions.get().unwrap()
    }

    /// The name of a queue at SQS.
    pub(crate) fn queue_name(&self, queue: &str) -> String {
        format!("mini-sns-{}-{queue}", self.env)
    }

    /// The dead letters of a queue, of which there are so many; they are there at once.
    pub(crate) async fn dead_letters(&self, queue: &str, count: usize) -> Vec<Value> {
        let dead = json!({"QueueName": format!("{}-dlq", self.queue_name(queue))});
        let url = self.sqs.call("GetQueueUrl", &dead).await["QueueUrl"].clone();
        let receive = json!({
            "QueueUrl": url, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"],
        });
        let received = self.sqs.call("ReceiveMessage", &receive).await;
        let letters = received["Messages"].as_array().cloned().unwrap_or_default();
        assert_eq!(letters.len(), count, "{letters:?}");
        letters
    }

    /// Lets events take their way until none is left: from the tables by the relays to the bus,
    /// and from the queues to the services.
    pub(crate) async fn settled(&self) {
        self.carried().await;
    }

    /// The same; how many events and messages that were.
    pub(crate) async fn carried(&self) -> (usize, usize) {
        let (mut events, mut messages) = (0, 0);
        loop {
            let moved = (self.relayed().await, self.reacted().await);
            if moved == (0, 0) {
                return (events, messages);
            }
            events += moved.0;
            messages += moved.1;
        }
    }

    /// Reads on in every stream, and has the relays take what is there; how many records.
    pub(crate) async fn relayed(&self) -> usize {
        let mut moved = 0;
        for stream in self.streams.lock().await.iter_mut() {
            self.read_on(stream).await;
            if stream.records.is_empty() {
                continue;
            }
            moved += stream.records.len();
            let event = json!({"Records": stream.records});
            let relay = self.functions().relay(stream.service).await;
            let answer = relay.invoke(&event).await.unwrap();
            // Lambda goes on from the first failure.
            let first = &answer["batchItemFailures"][0]["itemIdentifier"];
            let at = |record: &Value| record["dynamodb"]["SequenceNumber"] == *first;
            let failed = stream.records.iter().position(at);
            stream.records.drain(..failed.unwrap_or(stream.records.len()));
        }
        moved
    }

    async fn read_on(&self, stream: &mut Stream) {
        let told = json!({"StreamArn": stream.arn});
        let told = self.from_streams.call("DescribeStream", &told).await;
        for shard in told["StreamDescription"]["Shards"].as_array().unwrap() {
            let id = shard["ShardId"].as_str().unwrap();
            if !stream.iterators.contains_key(id) {
                let from = json!({
                    "StreamArn": stream.arn, "ShardId": id, "ShardIteratorType": "TRIM_HORIZON",
                });
                let from = self.from_streams.call("GetShardIterator", &from).await;
                let from = from["ShardIterator"].as_str().map(str::to_owned);
                stream.iterators.insert(id.to_owned(), from);
            }
            let Some(from) = stream.iterators[id].clone() else { continue };
            let read = json!({"ShardIterator": from, "Limit": 1000});
            let read = self.from_streams.call("GetRecords", &read).await;
            for record in read["Records"].as_array().unwrap() {
                let mut record = record.clone();
                record["eventSourceARN"] = json!(stream.arn);
                // The mapping's filter.
                let partition = record["dynamodb"]["Keys"]["pk"]["S"].as_str().unwrap();
                if record["eventName"] == "INSERT" && partition.starts_with("outbox#") {
                    stream.records.push(record);
                }
            }
            let next = read["NextShardIterator"].as_str().map(str::to_owned);
            stream.iterators.insert(id.to_owned(), next);
        }
    }

    /// Receives from every queue, and has the functions take what is there; how many messages.
    pub(crate) async fn reacted(&self) -> usize {
        let mut moved = 0;
        for (queue, function) in queues() {
            let url = &self.queue_urls[queue.name];
            let receive = json!({
                "QueueUrl": url, "MaxNumberOfMessages": 10, "AttributeNames": ["All"],
                "WaitTimeSeconds": 0,
            });
            let received = self.sqs.call("ReceiveMessage", &receive).await;
            let Some(messages) = received["Messages"].as_array() else { continue };
            moved += messages.len();
            let records: Vec<_> = messages.iter().map(|it| self.record(&queue, it)).collect();
            let event = json!({"Records": records});
            let answer = self.functions().get(function).await.invoke(&event).await.unwrap();
            assert_eq!(answer, json!({"batchItemFailures": []}), "{function}: {event}");
            for message in messages {
                let done = json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]});
                self.sqs.call("DeleteMessage", &done).await;
            }
        }
        moved
    }

    /// A message as Lambda hands it on.
    fn record(&self, queue: &QueueSpec, message: &Value) -> Value {
        json!({
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN":
                format!("arn:aws:sqs:us-east-1:000000000000:{}", self.queue_name(queue.name)),
            "awsRegion": "us-east-1",
        })
    }
}
