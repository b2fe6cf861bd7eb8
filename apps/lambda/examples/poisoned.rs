//! A function of the queue `timeline-follow` that does to itself what a message's subject says. The
//! tests show by it what becomes of a function, and of the other messages, then.

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use kernel::Problem;
use kernel::bus::{Message, Reaction};
use lambda::queues::Queues;
use lambda::{Function, Refused, World};

struct Obedient;

#[async_trait]
impl Reaction for Obedient {
    async fn react(&self, message: &Message) -> Result<(), Problem> {
        match message.event.subject.as_str() {
            "panic" => panic!("the moon fell"),
            "overflow" => assert!(depth(0) > 0),
            "exit" => std::process::exit(7),
            "hang" => loop {
                std::thread::park();
            },
            well => tracing::info!(well, process = std::process::id(), "done"),
        }
        Ok(())
    }
}

/// Deeper than any stack.
fn depth(above: u64) -> u64 {
    let below = if above < u64::MAX { depth(std::hint::black_box(above + 1)) } else { above };
    std::hint::black_box(below)
}

fn wire(world: &World) -> Result<Arc<dyn Function>, Refused> {
    let queues = timeline::QUEUES.iter().filter(|queue| queue.name == "timeline-follow");
    let handler: Arc<Obedient> = Arc::new(Obedient);
    let subscriptions = queues.map(|queue| queue.consumed_by(Arc::clone(&handler) as _, 10, 1));
    Ok(Arc::new(Queues {
        bus: world.bus(timeline::QUEUES)?,
        subscriptions: subscriptions.collect(),
    }))
}

fn main() -> ExitCode {
    lambda::run(wire)
}
