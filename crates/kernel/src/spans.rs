//! What was done for a request, piece by piece: the spans of a trace, kept in memory until it is
//! known whether they are worth keeping.
//!
//! A [`Recording`] holds the spans of one request, or of one delivery of events, in this process.
//! When that ends, its spans are kept where it failed, was slow, or belongs to a trace that is
//! sampled (which every process knows from the trace's context); else they are dropped. What an
//! event of the request set in motion may fail or be late only afterwards: so spans of traces with
//! events are remembered for a while, and kept after all when that happens.
//!
//! Without a [`Tracer`] there are no recordings, and nothing is done for them.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::request;
use crate::trace::{SpanId, TraceId};

/// Spans of one recording, at most; further ones are lost.
const SPANS_MAX: usize = 1_024;
/// Spans that are remembered for what may still become of their traces, at most.
const RECENT_SPANS_MAX: usize = 16_384;

/// Which end of a call a span is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Work in this process.
    Internal,
    /// A request from outside.
    Server,
    /// A call to elsewhere.
    Client,
    /// Something put on a queue.
    Producer,
    /// Something taken from a queue.
    Consumer,
}

/// What is told of a span.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Words.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// A piece of work.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its name in its trace.
    pub id: SpanId,
    /// The span that it is a part of; none where the trace begins.
    pub parent: Option<SpanId>,
    /// What is done, in few words of which there are few.
    pub name: Cow<'static, str>,
    /// Which end of a call it is.
    pub kind: Kind,
    /// When it began.
    pub start: Instant,
    /// When it ended.
    pub end: Instant,
    /// Why it failed, in a word; none where it did not.
    pub failed: Option<Cow<'static, str>>,
    /// More of it, by OpenTelemetry's names where it has one.
    pub attributes: Vec<(&'static str, Value)>,
}

impl Span {
    /// A span that ends now.
    pub fn new(id: SpanId, name: impl Into<Cow<'static, str>>, kind: Kind, start: Instant) -> Self {
        let name = name.into();
        let end = Instant::now();
        let (parent, failed, attributes) = (None, None, Vec::new());
        Self { id, parent, name, kind, start, end, failed, attributes }
    }

    /// Tells more of it.
    pub fn tell(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push((name, value.into()));
    }
}

/// A span with its trace.
pub type Traced = (TraceId, Span);

/// Where kept spans go. Must not wait.
pub trait Sink: Send + Sync {
    /// Takes spans; may drop them where there are too many.
    fn take(&self, spans: Vec<Traced>);
}

/// Begins recordings, and decides what is kept of them.
pub struct Tracer {
    sink: Arc<dyn Sink>,
    slow: Duration,
    recent: Mutex<Recent>,
}

impl Tracer {
    /// What takes `slow` or longer is kept.
    pub fn new(sink: Arc<dyn Sink>, slow: Duration) -> Arc<Self> {
        Arc::new(Self { sink, slow, recent: Mutex::default() })
    }

    /// Begins a recording whose outermost span has the name `root`.
    pub fn begin(self: &Arc<Self>, root: SpanId) -> Arc<Recording> {
        Arc::new(Recording {
            tracer: Arc::clone(self),
            begun: Instant::now(),
            root,
            given: AtomicU64::new(0),
            caused: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    /// Keeps the spans of a trace that failed or was slow, with what is remembered of it; and those
    /// of one that is sampled, of which everything else was kept already. Others are remembered.
    fn judge(&self, trace: TraceId, fate: Fate, mut spans: Vec<Span>) {
        match fate {
            Fate::Sampled => {}
            Fate::Remembered => return self.recent().remember(trace, spans),
            Fate::Told => spans.extend(self.recent().forget(trace)),
        }
        self.sink.take(spans.into_iter().map(|span| (trace, span)).collect());
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a trace's spans.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Kept, as every span of the trace.
    Sampled,
    /// Kept, for it failed or was slow.
    Told,
    /// Kept if the trace fails or is slow later on.
    Remembered,
}

/// The spans of traces that may still become worth keeping.
#[derive(Default)]
struct Recent {
    traces: HashMap<TraceId, Vec<Span>>,
    /// Which came first; also those that are forgotten.
    order: VecDeque<TraceId>,
    spans: usize,
}

impl Recent {
    fn remember(&mut self, trace: TraceId, mut spans: Vec<Span>) {
        self.spans += spans.len();
        let known = self.traces.entry(trace).or_insert_with(|| {
            self.order.push_back(trace);
            Vec::new()
        });
        known.append(&mut spans);
        while (self.spans > RECENT_SPANS_MAX || self.order.len() > RECENT_SPANS_MAX)
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(oldest);
        }
    }

    /// What is remembered of a trace; no longer afterwards.
    fn forget(&mut self, trace: TraceId) -> Vec<Span> {
        let found = self.traces.remove(&trace).unwrap_or_default();
        self.spans -= found.len();
        found
    }
}

/// The outermost span of a recording in one of its traces; a delivery of many events has many.
pub struct Root {
    /// The trace as it came from elsewhere, or as it begins here.
    pub trace_id: TraceId,
    /// Whether it is kept whatever becomes of it.
    pub sampled: bool,
    /// How long ago what it is about began elsewhere; zero where it begins here.
    pub waited: Duration,
    /// The span.
    pub span: Span,
}

/// The spans of one request or delivery in this process.
pub struct Recording {
    tracer: Arc<Tracer>,
    begun: Instant,
    root: SpanId,
    given: AtomicU64,
    /// Whether an event goes on with it.
    caused: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Each with its trace; with none, it belongs to all traces of the recording.
    spans: Vec<(Option<TraceId>, Span)>,
    /// The traces and what became of them, when it has ended.
    ended: Option<Vec<(TraceId, Fate)>>,
}

impl Recording {
    /// The name of its outermost span.
    pub fn root(&self) -> SpanId {
        self.root
    }

    /// When it began.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Another name for a span. No two of a trace are the same: names of outermost spans come from
    /// ids, which may be next to each other, and this is a large odd step.
    pub fn name(&self) -> SpanId {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let number = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        SpanId(self.root.0.wrapping_add(number.wrapping_mul(STEP)).max(1))
    }

    /// An event goes on with it.
    pub(crate) fn cause(&self) {
        self.caused.store(true, Ordering::Relaxed);
    }

    /// Whether ending it with this keeps anything, now or later.
    pub fn is_worth(&self, sampled: bool, failed: bool, took: Duration) -> bool {
        sampled || failed || took >= self.tracer.slow || self.caused.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a span that has ended, to one of its traces or to all of them.
    pub fn add(&self, trace: Option<TraceId>, span: Span) {
        let mut state = self.state();
        let Some(ended) = &state.ended else {
            if state.spans.len() < SPANS_MAX {
                state.spans.push((trace, span));
            }
            return;
        };
        // What goes on in a task of its own, or waits for a socket, may end later.
        let meant = ended.iter().filter(|(id, _)| trace.is_none_or(|trace| trace == *id));
        let meant: Vec<_> = meant.copied().collect();
        drop(state);
        for (trace, fate) in meant {
            self.tracer.judge(trace, fate, vec![span.clone()]);
        }
    }

    /// Ends it with its outermost spans; with none, everything is dropped.
    pub fn end(&self, roots: Vec<Root>) {
        let slow = self.tracer.slow;
        let fate = |root: &Root| {
            let took = root.span.end.duration_since(root.span.start) + root.waited;
            let told = root.span.failed.is_some() || took >= slow;
            match (root.sampled, told) {
                (true, _) => Fate::Sampled,
                (false, true) => Fate::Told,
                (false, false) => Fate::Remembered,
            }
        };
        let fates: Vec<_> = roots.iter().map(|root| (root.trace_id, fate(root))).collect();
        let spans = {
            let mut state = self.state();
            state.ended = Some(fates.clone());
            std::mem::take(&mut state.spans)
        };
        for (root, (trace, fate)) in roots.into_iter().zip(fates) {
            let own = spans.iter().filter(|(other, _)| other.is_none_or(|other| other == trace));
            let own = own.map(|(_, span)| span.clone());
            self.tracer.judge(trace, fate, own.chain([root.span]).collect());
        }
    }
}

/// Where spans of the present work go: a recording, and the span that they are a part of.
#[derive(Clone)]
pub struct Recorder {
    pub(crate) recording: Arc<Recording>,
    pub(crate) parent: SpanId,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("parent", &self.parent).finish_non_exhaustive()
    }
}

impl From<Arc<Recording>> for Recorder {
    fn from(recording: Arc<Recording>) -> Self {
        Self { parent: recording.root, recording }
    }
}

/// A span under way. Dropped before it has ended, it was broken off.
struct Open {
    recorder: Recorder,
    trace: Option<TraceId>,
    id: SpanId,
    name: &'static str,
    kind: Kind,
    start: Instant,
    ended: bool,
}

impl Open {
    fn begin(name: &'static str, kind: Kind) -> Option<Self> {
        let (recorder, trace) = request::recorder()?;
        let id = recorder.recording.name();
        Some(Self { recorder, trace, id, name, kind, start: Instant::now(), ended: false })
    }

    fn end(mut self, describe: impl FnOnce(&mut Span)) {
        self.ended = true;
        let mut span = self.span();
        describe(&mut span);
        self.recorder.recording.add(self.trace, span);
    }

    fn span(&self) -> Span {
        let mut span = Span::new(self.id, self.name, self.kind, self.start);
        span.parent = Some(self.recorder.parent);
        span
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut span = self.span();
        span.failed = Some(Cow::Borrowed("broken off"));
        self.recorder.recording.add(self.trace, span);
    }
}

impl std::fmt::Debug for Handed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handed").field("recorder", &self.recorder).finish_non_exhaustive()
    }
}

/// Something of the present work that waits for whoever takes it up: its span begins here and ends
/// there, once for each who does.
pub struct Handed {
    recorder: Recorder,
    trace: Option<TraceId>,
    start: Instant,
}

impl Handed {
    /// Hands something on, where the present work is recorded.
    pub fn on() -> Option<Arc<Self>> {
        let (recorder, trace) = request::recorder()?;
        Some(Arc::new(Self { recorder, trace, start: Instant::now() }))
    }

    /// It has been taken up, and is done.
    pub fn end(&self, name: &'static str, kind: Kind, describe: impl FnOnce(&mut Span)) {
        let recording = &self.recorder.recording;
        let mut span = Span::new(recording.name(), name, kind, self.start);
        span.parent = Some(self.recorder.parent);
        describe(&mut span);
        recording.add(self.trace, span);
    }
}

/// Does `work` as a span of the present work, where that is recorded; `describe` tells more of it
/// when it is done.
pub async fn span<F: Future>(
    name: &'static str,
    kind: Kind,
    work: F,
    describe: impl FnOnce(&F::Output, &mut Span),
) -> F::Output {
    let Some(open) = Open::begin(name, kind) else { return work.await };
    let done = request::inside(open.id, work).await;
    open.end(|span| describe(&done, span));
    done
}

/// The same for work that hands its trace on to nobody, which costs less: [`span`] without a scope
/// of its own.
pub async fn call<F: Future>(
    name: &'static str,
    kind: Kind,
    work: F,
    describe: impl FnOnce(&F::Output, &mut Span),
) -> F::Output {
    let Some(open) = Open::begin(name, kind) else { return work.await };
    let done = work.await;
    open.end(|span| describe(&done, span));
    done
}
