//! Which spans are kept: those of requests that failed, were slow or belong to a sampled trace, and
//! of what such a request set in motion.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kernel::clock::SystemClock;
use kernel::event::DeletedUser;
use kernel::ids::SystemIds;
use kernel::request::{self, Scope, within};
use kernel::spans::{Handed, Kind, Recording, Root, Sink, Span, Traced, Tracer, span};
use kernel::trace::{SpanId, TraceContext, TraceId};
use kernel::{Event, EventData, UserId};
use tokio::time::{Instant, advance};

const SLOW: Duration = Duration::from_millis(500);
const ROOT: SpanId = SpanId(1);

#[derive(Default)]
struct Kept(Mutex<Vec<Traced>>);

impl Sink for Kept {
    fn take(&self, spans: Vec<Traced>) {
        self.0.lock().unwrap().extend(spans);
    }
}

impl Kept {
    /// The names of the spans kept since the last time.
    fn names(&self) -> Vec<String> {
        let kept = std::mem::take(&mut *self.0.lock().unwrap());
        kept.into_iter().map(|(_, span)| span.name.into_owned()).collect()
    }
}

fn stage() -> (Arc<Kept>, Arc<Tracer>) {
    let kept = Arc::new(Kept::default());
    (Arc::clone(&kept), Tracer::new(kept, SLOW))
}

fn scope(recording: &Arc<Recording>, trace: u128) -> Scope {
    let trace = TraceContext { trace_id: TraceId(trace), span_id: ROOT, sampled: false };
    let recorder = Some(Arc::clone(recording).into());
    Scope { trace: Some(trace), recorder, ..Scope::until(Instant::now()) }
}

/// Ends a recording as the edge does.
fn end(recording: &Recording, trace: u128, sampled: bool, failed: bool) {
    let took = recording.begun().elapsed();
    if !recording.is_worth(sampled, failed, took) {
        return;
    }
    let mut span = Span::new(recording.root(), "root", Kind::Server, recording.begun());
    span.failed = failed.then(|| "500".into());
    recording.end(vec![Root { trace_id: TraceId(trace), sampled, waited: Duration::ZERO, span }]);
}

async fn step(name: &'static str) {
    span(name, Kind::Internal, async {}, |(), _| {}).await;
}

fn event() -> Event {
    let nobody = DeletedUser { user_id: UserId(1.into()) };
    let ids = SystemIds::new(Arc::new(SystemClock));
    Event::new(&ids, &SystemClock, EventData::UserDeleted(nobody))
}

#[tokio::test(start_paused = true)]
async fn what_failed_was_slow_or_is_sampled_is_kept_and_nothing_else() {
    let (kept, tracer) = stage();
    for (sampled, failed, took, expected) in [
        (false, false, 499, &[][..]),
        (true, false, 0, &["step", "root"]),
        (false, true, 0, &["step", "root"]),
        (false, false, 500, &["step", "root"]),
    ] {
        let recording = tracer.begin(ROOT);
        within(scope(&recording, 1), step("step")).await;
        advance(Duration::from_millis(took)).await;
        end(&recording, 1, sampled, failed);
        assert_eq!(kept.names(), expected, "{sampled} {failed} {took}");
    }
}

#[tokio::test(start_paused = true)]
async fn spans_are_parts_of_each_other_and_what_leaves_names_the_innermost() {
    let (kept, tracer) = stage();
    let recording = tracer.begin(ROOT);
    let work = async {
        let inner = async {
            step("inner").await;
            request::trace().unwrap().span_id
        };
        let told = span("outer", Kind::Client, inner, |_, span| span.tell("n", 3_usize)).await;
        // Broken off by its caller.
        let never = span("never", Kind::Client, std::future::pending::<()>(), |(), _| {});
        tokio::time::timeout(Duration::from_millis(10), never).await.unwrap_err();
        (told, request::trace().unwrap().span_id)
    };
    let (within_outer, outside) = within(scope(&recording, 1), work).await;
    end(&recording, 1, true, false);
    let spans = std::mem::take(&mut *kept.0.lock().unwrap());
    let find = |name: &str| &spans.iter().find(|(_, span)| span.name == name).unwrap().1;
    let (outer, inner, never) = (find("outer"), find("inner"), find("never"));
    assert_eq!((outer.parent, inner.parent), (Some(ROOT), Some(outer.id)));
    assert_eq!((within_outer, outside), (outer.id, ROOT));
    assert_eq!(outer.attributes.len(), 1);
    assert_eq!(never.failed.as_deref(), Some("broken off"));
    assert_eq!(never.end - never.start, Duration::from_millis(10));
    let mut ids: Vec<_> = spans.iter().map(|(_, span)| span.id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_led_to_a_late_event_is_kept_after_all() {
    let (kept, tracer) = stage();
    for (trace, causes) in [(1, true), (2, false)] {
        let request = tracer.begin(ROOT);
        let caused = within(scope(&request, trace), async {
            step("commit").await;
            causes.then(event)
        });
        let event = caused.await;
        end(&request, trace, false, false);
        assert_eq!(kept.names(), [""; 0], "nobody knows yet");
        assert_eq!(event.and_then(|event| event.trace()).map(|trace| trace.trace_id.0), {
            causes.then_some(trace)
        });
        let delivery = tracer.begin(SpanId(9));
        let span = Span::new(SpanId(9), "consume", Kind::Consumer, delivery.begun());
        let root = Root { trace_id: TraceId(trace), sampled: false, waited: SLOW, span };
        delivery.end(vec![root]);
        let expected = if causes { &["consume", "commit", "root"][..] } else { &["consume"] };
        assert_eq!(kept.names(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_of_many_traces_tells_each_its_own_part() {
    let (kept, tracer) = stage();
    let delivery = tracer.begin(ROOT);
    let scope =
        Scope { recorder: Some(Arc::clone(&delivery).into()), ..Scope::until(Instant::now()) };
    let mut events = [event(), event()];
    for (n, event) in (1_u64..).zip(&mut events) {
        event.traceparent = Some(format!("00-{n:032x}-{n:016x}-00"));
    }
    let [first, second] = &events;
    let handed = within(scope, async {
        step("all").await;
        request::about(first, step("first")).await;
        request::about(second, step("second")).await;
        request::about(second, async { Handed::on() }).await.unwrap()
    });
    let handed = handed.await;
    let roots = [(1, false), (2, true)].map(|(trace, failed)| {
        let mut span = Span::new(ROOT, format!("root {trace}"), Kind::Consumer, delivery.begun());
        span.failed = failed.then(|| "500".into());
        Root { trace_id: TraceId(trace), sampled: false, waited: Duration::ZERO, span }
    });
    delivery.end(roots.into());
    assert_eq!(kept.names(), ["all", "second", "root 2"]);
    handed.end("frame", Kind::Producer, |_| {});
    assert_eq!(kept.names(), ["frame"], "what ends later belongs to it too");
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded() {
    let (kept, tracer) = stage();
    let recording = tracer.begin(ROOT);
    within(scope(&recording, 1), async {
        for _ in 0..5_000 {
            step("step").await;
        }
    })
    .await;
    end(&recording, 1, true, false);
    assert_eq!(kept.names().len(), 1_024 + 1);
    // The first of so many traces with events is no longer remembered, the last one is.
    for trace in 1..=20_000 {
        let request = tracer.begin(ROOT);
        within(scope(&request, trace), async { event() }).await;
        end(&request, trace, false, false);
    }
    for (trace, expected) in [(1, 1), (20_000, 2)] {
        let late = tracer.begin(ROOT);
        end(&late, trace, false, true);
        assert_eq!(kept.names().len(), expected, "trace {trace}");
    }
}
