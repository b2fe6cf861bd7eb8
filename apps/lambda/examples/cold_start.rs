//! Starts bootstraps again and again, and tells how long each takes to its first answer and how
//! much memory it has then. `cargo xtask lambda` builds them and runs this:
//! `cold_start DIRECTORY STARTS`, for the bootstraps in that directory. It prints one JSON object a
//! function.
//!
//! The time is from the start of the process to the moment its answer has come to the Runtime API.
//! The event is one that is answered without a call to anywhere.

#![expect(clippy::unwrap_used, reason = "a measurement that fails ends")]
#![expect(clippy::print_stdout, reason = "a program for the command line")]

#[path = "../tests/functions/events.rs"]
mod events;
#[path = "../tests/functions/nowhere.rs"]
mod nowhere;
#[path = "../tests/functions/runtime.rs"]
mod runtime;

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use runtime::Function;

/// Each function with its event.
fn functions() -> Vec<(&'static str, Value)> {
    let empty = || events::sqs("queue", &[]);
    vec![
        ("users", events::preflight()),
        ("posts", events::preflight()),
        ("social", events::preflight()),
        ("timeline", events::preflight()),
        ("react-users", empty()),
        ("react-posts", empty()),
        ("react-social", empty()),
        ("react-timeline", empty()),
        ("relay", empty()),
        ("authorizer", events::may_open(None, None)),
        // Without an owner, and without a socket, they refuse before they ask Redis.
        ("socket-connect", events::socket("$connect", "c", &json!({}))),
        ("socket-message", events::said("c", &json!({}), "{}")),
        ("socket-disconnect", json!({})),
        ("pre-sign-up", events::sign_up("PreSignUp_SignUp")),
    ]
}

fn variables() -> Vec<(String, String)> {
    let set = nowhere::SETTINGS.into_iter().chain([("MINI_SNS_SERVICE", "post")]);
    set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A process' resident memory at its highest, in bytes.
fn memory_max(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

/// How long a process' threads have been on a processor, in milliseconds: of a time on a machine
/// that does other things too, what is the process' own.
fn processor_millis(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanos = threads.map(|thread| {
        let told = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        told.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    std::time::Duration::from_nanos(nanos.sum()).as_secs_f64() * 1000.0
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("the directory of the bootstraps");
    let runs: usize = arguments.next().map_or(20, |runs| runs.parse().unwrap());
    for (name, event) in functions() {
        let program = Path::new(&directory).join(name);
        if !program.exists() {
            continue;
        }
        let (mut millis, mut on_processor, mut memory) = (Vec::new(), Vec::new(), 0);
        for _ in 0..runs {
            let started = Instant::now();
            let function = Function::start(&program, &variables()).await;
            let _ = function.invoke(&event).await;
            millis.push(started.elapsed().as_secs_f64() * 1000.0);
            on_processor.push(processor_millis(function.child.id()));
            memory = memory.max(memory_max(function.child.id()));
        }
        let slowest = millis.iter().copied().fold(0.0, f64::max);
        println!(
            "{}",
            json!({
                "function": name,
                "bytes": std::fs::metadata(&program).unwrap().len(),
                "medianMillis": median(&mut millis),
                "maxMillis": slowest,
                "processorMillis": median(&mut on_processor),
                "memoryBytes": memory,
            })
        );
    }
}
