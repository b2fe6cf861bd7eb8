//! Functions that end in the middle of an event: what becomes of the messages beside the one that
//! ended them, and what is known of it afterwards.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::batches::follow_event;
use crate::events;
use crate::stage::Stage;

/// For each event.
const TIME: Duration = Duration::from_secs(20);
const SOMEBODY: &str = "01M86NAGYKD8B2Y7FQRBQQMXDS";

/// A message about `subject`, received so often.
fn message(subject: &str, receives: u32) -> (&str, String, u32) {
    let mut event: Value = serde_json::from_str(&follow_event(SOMEBODY, SOMEBODY)).unwrap();
    event["detail"]["subject"] = json!(subject);
    (subject, event.to_string(), receives)
}

fn batch(stage: &Stage, messages: &[(&str, String, u32)]) -> Value {
    let messages: Vec<_> =
        messages.iter().map(|(id, body, receives)| (*id, body.as_str(), *receives)).collect();
    events::sqs(&stage.queue_name("timeline-follow"), &messages)
}

/// The lines of a log in which `name` is `value`.
fn lines(log: &[String], name: &str, value: &str) -> Vec<Value> {
    let lines = log
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    lines.filter(|line: &Value| line[name] == value).collect()
}

#[tokio::test]
async fn a_repetition_that_ends_its_process_takes_no_other_with_it() {
    let stage = Stage::new().await;
    let function = stage.functions().example("poisoned").await;
    let poison = ["panic", "overflow", "exit", "hang"];
    let all = ["hang", "panic", "well", "overflow", "exit", "better"];
    let event = batch(&stage, &all.map(|subject| message(subject, 2)));
    let answer = function.give(&event, TIME).await.unwrap().unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));

    let letters = stage.dead_letters("timeline-follow", poison.len()).await;
    let reason = |subject: &str| {
        let body = message(subject, 2).1;
        let letter = letters.iter().find(|letter| letter["Body"] == body);
        letter.unwrap_or_else(|| panic!("{subject}: {letters:?}"))["MessageAttributes"].to_string()
    };
    for (subject, said) in poison.iter().zip([
        "the handler panicked: the moon fell",
        "the handler's process ended without an answer: signal: 6 (SIGABRT)",
        "the handler's process ended without an answer: exit status: 7",
        "the handler took longer than its share of the time",
    ]) {
        assert!(reason(subject).contains(said), "{subject}: {}", reason(subject));
    }

    let log = function.log();
    let own = function.child.id();
    let processes = ["well", "better"].map(|subject| {
        let done = lines(&log, "well", subject);
        assert_eq!(done.len(), 1, "{subject}: {log:?}");
        assert_eq!(done[0]["span"]["name"], "event", "Lambda's name of the event is with it");
        assert!(done[0]["span"]["aws_request_id"].is_string(), "{}", done[0]);
        done[0]["process"].as_u64().unwrap()
    });
    assert!(processes[0] != processes[1] && !processes.contains(&u64::from(own)), "{processes:?}");
    let panicked = lines(&log, "message", "the function panicked");
    assert_eq!(panicked.len(), 1, "{log:?}");
    assert_eq!(panicked[0]["reason"], "the moon fell");
    assert_eq!(function.invoke(&batch(&stage, &[])).await.unwrap(), answer, "it serves on");
}

#[tokio::test]
async fn a_panic_is_a_line_of_the_log_and_the_end_of_the_function() {
    let stage = Stage::new().await;
    let mut function = stage.functions().example("poisoned").await;
    let messages = [message("well", 1), message("panic", 1), message("better", 1)];
    let _unanswered = function.give(&batch(&stage, &messages), TIME);
    let over = async {
        while Arc::strong_count(&function.log) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(TIME, over).await.unwrap();
    let ended = function.child.wait().unwrap();
    assert_eq!(ended.signal(), Some(6), "{ended}");
    let log = function.log();
    let panicked = lines(&log, "message", "the function panicked");
    assert_eq!(panicked.len(), 1, "{log:?}");
    assert_eq!(panicked[0]["level"], "ERROR");
    assert_eq!(panicked[0]["reason"], "the moon fell");
    assert!(panicked[0]["place"].as_str().unwrap().contains("poisoned.rs"), "{}", panicked[0]);
    assert!(panicked[0]["span"]["aws_request_id"].is_string(), "{}", panicked[0]);
}
