//! The examples in `docs/events.md` are events as the program writes and reads them.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use kernel::clock::SystemClock;
use kernel::event::EventKind;
use kernel::ids::SystemIds;
use kernel::{Clock, Event};
use serde_json::Value;

/// Each example with the heading that it stands under.
fn examples() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/events.md");
    let document = fs::read_to_string(path).unwrap();
    let sections = document.split("\n### ").skip(1).map(|section| {
        let (heading, rest) = section.split_once('\n').unwrap();
        let (_, rest) = rest.split_once("```json\n").unwrap_or_else(|| panic!("{heading}"));
        let (example, rest) = rest.split_once("```").unwrap();
        assert!(!rest.contains("```json"), "{heading}: one example");
        (heading.to_owned(), example.to_owned())
    });
    sections.collect()
}

#[test]
fn every_kind_has_its_example() {
    let headings: Vec<_> = examples().into_iter().map(|(heading, _)| heading).collect();
    let kinds: Vec<_> = EventKind::ALL.iter().map(|kind| kind.short_name()).collect();
    assert_eq!(headings, kinds);
}

#[test]
fn each_example_is_what_the_program_reads_and_writes() {
    for (heading, example) in examples() {
        let event: Event = serde_json::from_str(&example).unwrap();
        assert_eq!(event.kind().short_name(), heading);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let told = Event::new(&SystemIds::new(Arc::clone(&clock)), &*clock, event.data.clone());
        assert_eq!((&event.source, &event.subject), (&told.source, &told.subject), "{heading}");
        let (written, read) = (serde_json::to_value(&event).unwrap(), example.parse::<Value>());
        assert_eq!(written, read.unwrap(), "{heading}");
        // Members stand in the order in which they are written.
        let compact = serde_json::to_string(&event).unwrap();
        let spaceless = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(spaceless(&compact), spaceless(&example), "{heading}");
    }
}
