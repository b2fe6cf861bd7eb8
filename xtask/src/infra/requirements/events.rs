//! What the services tell each other: the bus, its rules, queues, dead letters, relays.

use serde_json::{Value, json};

use super::{SERVICES, everywhere, stack, texts};

/// What each service is told, by queue. Of these the requirements (R2.1 to R2.4) name PostDeleted
/// for social, and PostCreated, FollowCreated, FollowDeleted and PostDeleted for timeline; deleted
/// accounts and changed profiles and mutes are our additions.
const QUEUES: [(&str, &str, &[&str]); 8] = [
    ("user", "user-erasure", &["UserDeleted", "UserSuspended", "UserRestored"]),
    (
        "post",
        "post-user-deleted",
        &["UserDeleted", "EmailConfirmed", "UserSuspended", "UserRestored"],
    ),
    ("social", "social-post-deleted", &["PostDeleted"]),
    ("social", "social-user-deleted", &["UserDeleted"]),
    ("timeline", "timeline-fanout", &["PostCreated"]),
    (
        "timeline",
        "timeline-follow",
        &["FollowCreated", "FollowDeleted", "MuteCreated", "MuteDeleted"],
    ),
    ("timeline", "timeline-removal", &["PostDeleted"]),
    (
        "timeline",
        "timeline-user",
        &["UserProfileUpdated", "UserDeleted", "UserSuspended", "UserRestored"],
    ),
];

/// R2.7: the bus by name, what it could not deliver, and every event of two weeks.
#[test]
fn the_bus_has_its_name_its_dead_letters_and_an_archive() {
    for env in everywhere() {
        let stack = stack("shared", env);
        let bus = stack.one("AWS::Events::EventBus");
        assert_eq!(bus["Name"], format!("mini-sns-{env}-event-bus"));
        let undelivered = stack.named("Undelivered");
        assert_eq!(undelivered["QueueName"], format!("mini-sns-{env}-event-bus-dlq"));
        assert_eq!(undelivered["MessageRetentionPeriod"], 14 * 24 * 60 * 60);
        assert_eq!(stack.one("AWS::Events::Archive")["RetentionDays"], 14);
    }
}

/// R2.1 to R2.4, R2.7: a rule for each queue, for exactly its kinds of events, whose failures are
/// kept; only that rule may send to the queue, and only by TLS.
#[test]
fn each_queue_is_fed_exactly_its_events() {
    for env in everywhere() {
        let mut found = Vec::new();
        for service in SERVICES {
            let stack = stack(service, env);
            for (logical, rule) in stack.all("AWS::Events::Rule") {
                let queue = rule["Name"].as_str().unwrap().replace(&format!("mini-sns-{env}-"), "");
                let kinds = texts(&rule["EventPattern"]["detail-type"]);
                found.push((service, queue.clone(), kinds.join(" ")));
                let bus = json!({"Fn::ImportValue": format!("mini-sns-{env}-event-bus-name")});
                assert_eq!(rule["EventBusName"], bus);
                let target = &rule["Targets"][0];
                let own = logical.strip_suffix("Rule").unwrap();
                assert_eq!(target["Arn"], json!({"Fn::GetAtt": [own, "Arn"]}));
                assert_eq!(stack.named(own)["QueueName"], format!("mini-sns-{env}-{queue}"));
                let dead = format!("mini-sns-{env}-event-bus-dlq-arn");
                assert_eq!(target["DeadLetterConfig"]["Arn"], json!({"Fn::ImportValue": dead}));
                let policy = &stack.named(&format!("{own}Policy"))["PolicyDocument"]["Statement"];
                let rule_alone = json!({"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [
                    logical, "Arn"
                ]}}});
                assert_eq!(policy[0]["Condition"], rule_alone);
                let plain = json!({"Bool": {"aws:SecureTransport": "false"}});
                assert_eq!(
                    (&policy[1]["Effect"], &policy[1]["Condition"]),
                    (&json!("Deny"), &plain)
                );
            }
        }
        found.sort();
        let mut expected =
            QUEUES.map(|(service, queue, kinds)| (service, queue.to_owned(), kinds.join(" ")));
        expected.sort();
        assert_eq!(found, expected);
    }
}

/// R3.3, R4.2, R7.3: 30 s hidden, 14 days kept, and after two receives with the dead letters that
/// each consumer has for itself.
#[test]
fn each_queue_has_its_visibility_retention_and_dead_letters() {
    const FORTNIGHT: u32 = 14 * 24 * 60 * 60;
    for (service, queue, _) in QUEUES {
        for env in everywhere() {
            let stack = stack(service, env);
            let queues = stack.all("AWS::SQS::Queue");
            let find = |name: String| {
                let found = queues.iter().find(|(_, it)| it["QueueName"] == name);
                *found.unwrap_or_else(|| panic!("there is {name}"))
            };
            let (_, live) = find(format!("mini-sns-{env}-{queue}"));
            let (dead_logical, dead) = find(format!("mini-sns-{env}-{queue}-dlq"));
            assert_eq!(live["VisibilityTimeout"], 30);
            assert_eq!(live["MessageRetentionPeriod"], FORTNIGHT);
            assert_eq!(dead["MessageRetentionPeriod"], FORTNIGHT);
            let redrive = json!({
                "deadLetterTargetArn": {"Fn::GetAtt": [dead_logical, "Arn"]}, "maxReceiveCount": 2,
            });
            assert_eq!(live["RedrivePolicy"], redrive);
        }
    }
}

/// R4.2: a message that failed comes again alone, a sixth of the visibility is all that a batch
/// may take, and no throttle eats a receive: the function may run as often as its queues ask.
#[test]
fn queues_wake_their_functions_within_limits() {
    for env in everywhere() {
        for service in SERVICES {
            let stack = stack(service, env);
            let queues: Vec<_> = QUEUES.iter().filter(|(whose, ..)| *whose == service).collect();
            let mappings = stack.all("AWS::Lambda::EventSourceMapping");
            let mappings: Vec<_> =
                mappings.iter().filter(|(_, it)| !it["ScalingConfig"].is_null()).collect();
            assert_eq!(mappings.len(), queues.len());
            let (mut at_once, mut consumer) = (0, "");
            for (_, mapping) in mappings {
                assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
                assert!(mapping["BatchSize"].as_u64().unwrap() <= 10);
                at_once += mapping["ScalingConfig"]["MaximumConcurrency"].as_u64().unwrap();
                consumer = mapping["FunctionName"]["Ref"].as_str().unwrap();
            }
            let function = stack.named(consumer.strip_suffix("Live").unwrap());
            assert_eq!(function["Timeout"], 5);
            let reserved = function["ReservedConcurrentExecutions"].as_u64();
            assert!(reserved.is_none_or(|reserved| reserved >= at_once), "{service} {env}");
        }
    }
    let turns = stack("timeline", "prod");
    let mapping = turns.named("TimelineFanoutMapping");
    assert_eq!(mapping["ScalingConfig"]["MaximumConcurrency"], 2, "there is one turn at a time");
}

/// R1.4, R3.3: what the services that publish have written in their outbox goes to the bus; the
/// timeline publishes nothing (R2.4).
#[test]
fn tables_with_an_outbox_have_a_stream_and_a_relay() {
    for env in everywhere() {
        for service in ["user", "post", "social"] {
            let stack = stack(service, env);
            let table = stack.one("AWS::DynamoDB::Table");
            assert_eq!(table["StreamSpecification"]["StreamViewType"], "NEW_IMAGE");
            let mapping = stack.named("RelayMapping");
            assert_eq!(mapping["EventSourceArn"], json!({"Fn::GetAtt": ["Table", "StreamArn"]}));
            let pattern = mapping["FilterCriteria"]["Filters"][0]["Pattern"].as_str().unwrap();
            let pattern: Value = serde_json::from_str(pattern).unwrap();
            assert_eq!(pattern["eventName"], json!(["INSERT"]));
            let key = &pattern["dynamodb"]["Keys"]["pk"]["S"][0]["prefix"];
            assert_eq!(*key, "outbox#");
            assert_eq!(mapping["BisectBatchOnFunctionError"], true);
            assert!(mapping["MaximumRetryAttempts"].as_u64().is_some_and(|most| most > 0));
            let dead = stack.named("RelayDead");
            assert_eq!(dead["QueueName"], format!("mini-sns-{env}-relay-{service}-dlq"));
            let relay = stack.functions()[&*format!("mini-sns-{env}-relay-{service}")].1;
            assert_eq!(relay["Environment"]["Variables"]["MINI_SNS_SERVICE"], service);
        }
        let timeline = stack("timeline", env);
        assert!(timeline.one("AWS::DynamoDB::Table")["StreamSpecification"].is_null());
        assert!(!timeline.0.to_string().contains("events:PutEvents"));
    }
}
