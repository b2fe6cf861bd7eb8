//! Bus, rules and queues, made where they are missing: for tests and small installations. The
//! stacks under `infra/` make the same.

use std::collections::HashMap;

use aws_sdk_eventbridge::types::{DeadLetterConfig, Target};
use aws_sdk_sqs::types::QueueAttributeName;
use kernel::bus::QueueSpec;
use serde_json::json;

use super::AwsBus;
use super::retry::Remote;

/// The name, within the environment, of what holds the events that the bus could not deliver.
const UNDELIVERED: &str = "event-bus";

impl AwsBus {
    /// Makes the bus, and for each queue its dead letters, itself, and the rule that feeds it.
    /// Repeating it changes nothing.
    pub async fn create(&self) -> Result<(), Remote> {
        let bus = self.config.bus_name();
        let made = self.events.create_event_bus().name(&bus).send().await;
        if let Err(error) = made
            && !error
                .as_service_error()
                .is_some_and(|error| error.is_resource_already_exists_exception())
        {
            return Err(Remote::new("CreateEventBus", &error));
        }
        let undelivered = self.config.dead_name(UNDELIVERED);
        let (url, undelivered) = self.create_queue(&undelivered, None).await?;
        // Rules of this bus, whichever they will be.
        let rules = undelivered.replacen(":sqs:", ":events:", 1);
        let rules = rules.rsplit_once(':').map_or("*", |(prefix, _)| prefix);
        self.allow(&url, &undelivered, &format!("{rules}:rule/{bus}/*")).await?;
        for queue in &self.queues {
            self.create_one(&bus, &queue.spec, &undelivered).await?;
        }
        Ok(())
    }

    async fn create_one(
        &self,
        bus: &str,
        spec: &QueueSpec,
        undelivered: &str,
    ) -> Result<(), Remote> {
        let name = self.config.queue_name(spec.name);
        let (_, dead) = self.create_queue(&self.config.dead_name(spec.name), None).await?;
        let (url, arn) = self.create_queue(&name, Some(&dead)).await?;
        if spec.kinds.is_empty() {
            return Ok(());
        }
        let kinds: Vec<_> = spec.kinds.iter().map(|kind| kind.short_name()).collect();
        let rule = self.events.put_rule().name(&name).event_bus_name(bus);
        let rule = rule.event_pattern(json!({"detail-type": kinds}).to_string()).send().await;
        let rule = rule.map_err(|error| Remote::new("PutRule", &error))?;
        let rule = rule.rule_arn.ok_or_else(|| Remote::silent("PutRule"))?;
        self.allow(&url, &arn, &rule).await?;
        let letters = DeadLetterConfig::builder().arn(undelivered).build();
        let target = Target::builder().id(spec.name).arn(&arn).dead_letter_config(letters).build();
        let target = target.map_err(|error| Remote::refused("PutTargets", error.to_string()))?;
        let put = self.events.put_targets().event_bus_name(bus).rule(&name).targets(target);
        let put = put.send().await.map_err(|error| Remote::new("PutTargets", &error))?;
        match put.failed_entries().first() {
            Some(entry) => {
                Err(Remote::refused("PutTargets", entry.error_message().unwrap_or("refused")))
            }
            None => Ok(()),
        }
    }

    /// Makes a queue; answers its address and name in ARN form.
    async fn create_queue(
        &self,
        name: &str,
        dead: Option<&str>,
    ) -> Result<(String, String), Remote> {
        let policy = &self.config.policy;
        let mut attributes = HashMap::from([
            (QueueAttributeName::MessageRetentionPeriod, policy.retention.as_secs().to_string()),
            (QueueAttributeName::SqsManagedSseEnabled, "true".to_owned()),
        ]);
        if let Some(dead) = dead {
            let redrive =
                json!({"deadLetterTargetArn": dead, "maxReceiveCount": policy.receives_max});
            let visibility = policy.visibility.as_secs().to_string();
            attributes.insert(QueueAttributeName::RedrivePolicy, redrive.to_string());
            attributes.insert(QueueAttributeName::VisibilityTimeout, visibility);
        }
        let made = self.sqs.create_queue().queue_name(name).set_attributes(Some(attributes));
        let made = made.send().await.map_err(|error| Remote::new("CreateQueue", &error))?;
        let url = made.queue_url.ok_or_else(|| Remote::silent("CreateQueue"))?;
        let told = self.sqs.get_queue_attributes().queue_url(&url);
        let told = told.attribute_names(QueueAttributeName::QueueArn).send().await;
        let mut told = told.map_err(|error| Remote::new("GetQueueAttributes", &error))?;
        let arn =
            told.attributes.as_mut().and_then(|told| told.remove(&QueueAttributeName::QueueArn));
        Ok((url, arn.ok_or_else(|| Remote::silent("GetQueueAttributes"))?))
    }

    /// Lets rules of the bus send to a queue, and nobody without TLS.
    async fn allow(&self, url: &str, queue: &str, rules: &str) -> Result<(), Remote> {
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": queue,
                    "Condition": {"ArnLike": {"aws:SourceArn": rules}},
                },
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sqs:*",
                    "Resource": queue,
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                },
            ],
        });
        let set = self.sqs.set_queue_attributes().queue_url(url);
        let set = set.attributes(QueueAttributeName::Policy, policy.to_string()).send().await;
        set.map_err(|error| Remote::new("SetQueueAttributes", &error))?;
        Ok(())
    }
}
