//! What belongs to the request (or delivery) being worked on, however deep the call: its trace and
//! its deadline.

use std::time::Duration;

use tokio::time::Instant;

/// The scope of one request.
#[derive(Clone, Debug)]
pub struct Scope {
    /// W3C trace context, passed on to events and peers; empty where there is none.
    pub traceparent: String,
    /// When the caller stops waiting.
    pub deadline: Instant,
}

tokio::task_local! {
    static SCOPE: Scope;
}

/// Runs `work` as part of the request `scope`.
pub async fn within<F: Future>(scope: Scope, work: F) -> F::Output {
    SCOPE.scope(scope, work).await
}

/// The same work, which stays part of the present request when it goes on in a task of its own.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let scope = SCOPE.try_with(Scope::clone).ok();
    async move {
        match scope {
            Some(scope) => within(scope, work).await,
            None => work.await,
        }
    }
}

/// The same work within `most`, for what can be done without: whoever answers it is told of the
/// time, and not broken off.
pub async fn hurried<F: Future>(most: Duration, work: F) -> F::Output {
    let deadline = Instant::now() + time_left(most).min(most);
    within(Scope { traceparent: traceparent().unwrap_or_default(), deadline }, work).await
}

/// The trace of the present request, where there is one.
pub fn traceparent() -> Option<String> {
    let trace = SCOPE.try_with(|scope| scope.traceparent.clone()).ok();
    trace.filter(|trace| !trace.is_empty())
}

/// How much time the present request has left; `otherwise` outside a request.
pub fn time_left(otherwise: Duration) -> Duration {
    SCOPE
        .try_with(|scope| scope.deadline.saturating_duration_since(Instant::now()))
        .unwrap_or(otherwise)
}
