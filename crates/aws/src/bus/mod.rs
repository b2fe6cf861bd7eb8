//! The event bus on EventBridge and SQS.
//!
//! An event is one `PutEvents` entry on `mini-sns-{env}-event-bus`; a rule for each queue hands it
//! on to `mini-sns-{env}-{queue}` by its `detail-type`. What SQS gives twice without success lies
//! in `mini-sns-{env}-{queue}-dlq`: the consumer puts it there with the reason, and SQS itself does
//! where the consumer could not.
//!
//! | file | holds |
//! |---|---|
//! | `publish.rs` | events to EventBridge |
//! | `send.rs`, `receive.rs` | SQS in tens: send, receive, delete, hide |
//! | `message.rs` | what a queue's message says |
//! | `worker.rs`, `work.rs` | consuming in a long-running process |
//! | [`lambda`] | consuming where Lambda does the receiving |
//! | [`streams`] | the relay where Lambda reads DynamoDB's stream |
//! | [`relay`] | the relay of a long-running process |
//! | `dead.rs`, `stats.rs` | for the operator |
//! | `create.rs` | bus, rules and queues, for tests and small installations |

mod create;
mod dead;
pub mod lambda;
mod message;
mod publish;
mod receive;
pub mod relay;
mod retry;
mod send;
mod stats;
pub mod streams;
mod work;
mod worker;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use kernel::bus::{Bus, BusError, Message, QueuePolicy, QueueSpec};
use kernel::{Clock, Event, Problem, Time};
use tokio::sync::OnceCell;

pub use retry::Remote;

use crate::config::Renewal;

use retry::Rounds;

/// What a poll may take beyond its waiting.
const POLL_MARGIN: Duration = Duration::from_secs(5);

/// How this process uses the bus.
#[derive(Clone, Debug)]
pub struct Config {
    /// The environment in the names of bus and queues, such as `dev`.
    pub env: String,
    /// The address of EventBridge and SQS, in place of the region's.
    pub services_url: Option<String>,
    /// How the queues are made; a process that consumes must know it.
    pub policy: QueuePolicy,
    /// Bytes of a message, at most; a larger one is refused. Also of all messages of one request.
    pub message_bytes_max: usize,
    /// How often entries of a batch are sent, where only they were refused for a passing reason.
    pub rounds_max: u32,
    /// The pause before the second round; each further one is twice as long.
    pub pause: Duration,
    /// How long a receive waits for a message; at most 20 s. What it brings to a process that was
    /// killed meanwhile is hidden until the visibility time-out, and has lost one receive of two.
    pub poll: Duration,
    /// How long a stop waits for receives and handlers that are under way. Longer than a receive
    /// waits, so that none is given up; what handlers have not done by then comes again at once.
    pub stop_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            env: "dev".to_owned(),
            services_url: None,
            policy: QueuePolicy::default(),
            message_bytes_max: 256 << 10,
            rounds_max: 4,
            pause: Duration::from_millis(50),
            poll: Duration::from_secs(4),
            stop_grace: Duration::from_secs(5),
        }
    }
}

impl Config {
    /// The bus's name.
    pub fn bus_name(&self) -> String {
        format!("mini-sns-{}-event-bus", self.env)
    }

    /// The name of a queue at SQS.
    pub fn queue_name(&self, queue: &str) -> String {
        format!("mini-sns-{}-{queue}", self.env)
    }

    /// The name of a queue's dead letters at SQS.
    pub fn dead_name(&self, queue: &str) -> String {
        format!("{}-dlq", self.queue_name(queue))
    }

    const fn rounds(&self) -> Rounds {
        Rounds { most: self.rounds_max, pause: self.pause }
    }
}

/// One of the two queues behind a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Live,
    Dead,
}

struct Queue {
    spec: QueueSpec,
    live: OnceCell<String>,
    dead: OnceCell<String>,
    /// When the oldest message of the last receive was sent.
    oldest: Mutex<Option<Time>>,
}

/// The event bus on AWS.
pub struct AwsBus {
    events: aws_sdk_eventbridge::Client,
    sqs: aws_sdk_sqs::Client,
    /// The same with the patience of a long poll.
    polls: aws_sdk_sqs::Client,
    config: Config,
    clock: Arc<dyn Clock>,
    queues: Vec<Queue>,
}

impl AwsBus {
    /// A bus whose `queues` this process may write to, consume or look after. Makes no call.
    pub fn new(
        sdk: &SdkConfig,
        config: Config,
        clock: Arc<dyn Clock>,
        queues: &[QueueSpec],
    ) -> Arc<Self> {
        let url = config.services_url.clone();
        let renewal = Renewal::new();
        let mut events = aws_sdk_eventbridge::config::Builder::from(sdk)
            .identity_cache(renewal.clone())
            .retry_classifier(renewal.clone());
        let mut sqs = aws_sdk_sqs::config::Builder::from(sdk)
            .identity_cache(renewal.clone())
            .retry_classifier(renewal);
        if let Some(url) = url {
            events.set_endpoint_url(Some(url.clone()));
            sqs.set_endpoint_url(Some(url));
        }
        let timeouts = sdk.timeout_config().map_or_else(TimeoutConfig::builder, |known| {
            TimeoutConfig::builder().set_connect_timeout(known.connect_timeout()).clone()
        });
        let timeouts = timeouts
            .operation_attempt_timeout(config.poll + POLL_MARGIN)
            .operation_timeout(config.poll + POLL_MARGIN)
            .build();
        let polls = sqs
            .clone()
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let queues = queues.iter().map(|spec| Queue {
            spec: *spec,
            live: OnceCell::new(),
            dead: OnceCell::new(),
            oldest: Mutex::default(),
        });
        Arc::new(Self {
            events: aws_sdk_eventbridge::Client::from_conf(events.build()),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            polls: aws_sdk_sqs::Client::from_conf(polls.build()),
            config,
            clock,
            queues: queues.collect(),
        })
    }

    fn index(&self, queue: &str) -> Result<usize, Problem> {
        let found = self.queues.iter().position(|known| known.spec.name == queue);
        found.ok_or_else(|| Problem::not_found("queue"))
    }

    /// The address of a queue, asked for once.
    async fn url(&self, index: usize, side: Side) -> Result<&str, Remote> {
        let queue = &self.queues[index];
        let (cell, name) = match side {
            Side::Live => (&queue.live, self.config.queue_name(queue.spec.name)),
            Side::Dead => (&queue.dead, self.config.dead_name(queue.spec.name)),
        };
        let ask = || async {
            let found = self.sqs.get_queue_url().queue_name(&name).send().await;
            let found = found.map_err(|error| Remote::new("GetQueueUrl", &error))?;
            found.queue_url.ok_or_else(|| Remote::silent("GetQueueUrl"))
        };
        Ok(cell.get_or_try_init(ask).await?.as_str())
    }
}

fn refuse_all(all: usize, reason: impl Into<String>) -> BusError {
    BusError { refused: (0..all).collect(), reason: reason.into() }
}

#[async_trait]
impl Bus for AwsBus {
    async fn publish(&self, events: &[Event]) -> Result<(), BusError> {
        self.put(events).await
    }

    async fn enqueue(&self, queue: &str, messages: &[Message]) -> Result<(), BusError> {
        let refused = |reason: String| refuse_all(messages.len(), reason);
        let index = self.index(queue).map_err(|problem| refused(problem.to_string()))?;
        let url = self.url(index, Side::Live).await.map_err(|error| refused(error.to_string()))?;
        self.send_messages(url, messages).await
    }
}
