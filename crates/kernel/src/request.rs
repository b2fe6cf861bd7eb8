//! What belongs to the request (or delivery) being worked on, however deep the call: its trace, its
//! spans and its deadline.

use std::time::Duration;

use futures_util::future::Either;
use tokio::time::Instant;

use crate::Event;
use crate::spans::Recorder;
use crate::trace::{SpanId, TraceContext, TraceId};

/// The scope of one request.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Its place in a trace, passed on to events and peers; none where it has no trace, or many.
    pub trace: Option<TraceContext>,
    /// Where its spans go; none where nobody records them.
    pub recorder: Option<Recorder>,
    /// When the caller stops waiting.
    pub deadline: Instant,
}

impl Scope {
    /// That of work until `deadline`, in no trace.
    pub const fn until(deadline: Instant) -> Self {
        Self { trace: None, recorder: None, deadline }
    }

    fn inside(mut self, span: SpanId) -> Self {
        if let Some(trace) = &mut self.trace {
            trace.span_id = span;
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.parent = span;
        }
        self
    }
}

tokio::task_local! {
    static SCOPE: Scope;
}

/// Runs `work` as part of the request `scope`.
pub fn within<F: Future>(scope: Scope, work: F) -> impl Future<Output = F::Output> {
    SCOPE.scope(scope, work)
}

/// The same, where there is a scope. (No `async fn`s: each would keep room for the work twice.)
fn maybe_within<F: Future>(scope: Option<Scope>, work: F) -> impl Future<Output = F::Output> {
    match scope {
        Some(scope) => Either::Left(SCOPE.scope(scope, work)),
        None => Either::Right(work),
    }
}

/// The same work, which stays part of the present request when it goes on in a task of its own.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    maybe_within(present(), work)
}

/// The same work within `most`, for what can be done without: whoever answers it is told of the
/// time, and not broken off.
pub fn hurried<F: Future>(most: Duration, work: F) -> impl Future<Output = F::Output> {
    let deadline = Instant::now() + time_left(most).min(most);
    let scope = present().unwrap_or_else(|| Scope::until(deadline));
    within(Scope { deadline, ..scope }, work)
}

/// The work that one of a delivery's events needs: a part of that event's trace alone.
pub fn about<F: Future>(event: &Event, work: F) -> impl Future<Output = F::Output> + use<F> {
    let scope = present().map(|scope| {
        let mut trace = event.trace();
        if let (Some(trace), Some(recorder)) = (&mut trace, &scope.recorder) {
            trace.span_id = recorder.parent;
        }
        Scope { trace, ..scope }
    });
    maybe_within(scope, work)
}

/// The present work, recorded from here on.
pub fn recorded<F: Future>(recorder: Recorder, work: F) -> impl Future<Output = F::Output> {
    let parent = recorder.parent;
    let scope = present().map(|scope| Scope { recorder: Some(recorder), ..scope });
    maybe_within(scope.map(|scope| scope.inside(parent)), work)
}

/// The present work as a part of this span.
pub(crate) fn inside<F: Future>(span: SpanId, work: F) -> impl Future<Output = F::Output> {
    maybe_within(present().map(|scope| scope.inside(span)), work)
}

fn present() -> Option<Scope> {
    SCOPE.try_with(Scope::clone).ok()
}

/// Where spans of the present work go, and their trace where it is one.
pub(crate) fn recorder() -> Option<(Recorder, Option<TraceId>)> {
    let recorder =
        |scope: &Scope| Some((scope.recorder.clone()?, scope.trace.map(|trace| trace.trace_id)));
    SCOPE.try_with(recorder).ok().flatten()
}

/// The trace of the present request, where there is one.
pub fn trace() -> Option<TraceContext> {
    SCOPE.try_with(|scope| scope.trace).ok().flatten()
}

/// The trace of the present request, for an event that it causes.
pub(crate) fn cause() -> Option<TraceContext> {
    let cause = |scope: &Scope| {
        if let Some(recorder) = &scope.recorder {
            recorder.recording.cause();
        }
        scope.trace
    };
    SCOPE.try_with(cause).ok().flatten()
}

/// How much time the present request has left; `otherwise` outside a request.
pub fn time_left(otherwise: Duration) -> Duration {
    SCOPE
        .try_with(|scope| scope.deadline.saturating_duration_since(Instant::now()))
        .unwrap_or(otherwise)
}
