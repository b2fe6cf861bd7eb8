//! `mini-sns serve`: opens the backend, listens, and ends in good order.

use std::convert::{self, Infallible};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Version};
use axum::response::Response;
use axum::routing::future::RouteFuture;
use axum::{Router, ServiceExt};
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper::body::Incoming;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::admin::token;
use crate::cli::Serve;
use crate::failure::Failure;
use crate::listener::{self, Client, Listener};
use crate::settings::Settings;
use crate::world::{self, Stop};
use crate::{admin, demo, logging, metering, output, web};

/// Bytes of a request's head, at most.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Time that the background tasks have to finish after the listeners are closed.
const BACKGROUND_WAIT: Duration = Duration::from_secs(6);
/// Time in which kept connections are told to end, where the next process takes over.
const HAND_OVER: Duration = Duration::from_millis(300);
/// Time that closing the databases has after everything else.
const CLOSING_WAIT: Duration = Duration::from_millis(500);

/// Serves until SIGTERM or SIGINT.
pub(crate) async fn run(options: Serve) -> Result<(), Failure> {
    let mut settings =
        Settings::read(options.options, options.config.as_deref()).map_err(Failure::usage)?;
    let admin_token =
        token::given(settings.admin_token.as_deref(), settings.admin_token_file.as_deref())
            .map_err(Failure::usage)?;
    logging::start(settings.log_format, &settings.log_filter).map_err(Failure::usage)?;
    // From here on a signal is an orderly stop, however early it comes.
    let mut signals = Signals::listen()?;
    let tls = load_tls(&settings).await?;
    let (listener, admin_listener) = listener::open(settings.listen, settings.admin_listen)?;
    // Where port 0 was asked for, this is the port that it became.
    settings.listen = listener.address()?;
    let metrics = metering::start().map_err(Failure::failed)?;
    tokio::spawn(metering::keep_up(metrics.clone()));

    let world = world::open(&settings).await?;
    let stop = Stop::default();
    let mut background = world.start(&stop);
    let router = world.router(&settings);
    let admin = admin::router(Arc::clone(&world), metrics, admin_token);

    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", settings.listen);
    let admin_url = format!("http://{}", admin_listener.address()?);
    let closing = CancellationToken::new();
    let hand_over = if listener.outlives { HAND_OVER } else { Duration::ZERO };
    let front = Front { router, enter: web::to_page, closing: closing.clone() };
    let admin = Front { router: admin, enter: convert::identity, closing: closing.clone() };
    let handles = [Handle::new(), Handle::new()];
    let [public, private] = handles.clone();
    let head_timeout = settings.header_read_timeout.0;
    background.spawn(serve(listener, front, public, tls, head_timeout));
    background.spawn(serve(admin_listener, admin, private, None, head_timeout));
    output::line(&format!("Mini-SNS is at {url}"))?;
    output::line(&format!("for operators at {admin_url}"))?;
    tell_manager(NotifyState::Ready);
    if settings.demo == Some(true) {
        background.spawn(demo::run(url, stop.end.clone()));
    }

    signals.wait().await;
    tracing::info!("stopping");
    tell_manager(NotifyState::Stopping);
    stop.intake.cancel();
    end_for_sure(settings.shutdown_timeout.0 + CLOSING_WAIT);
    let end = tokio::time::timeout(settings.shutdown_timeout.0, async {
        closing.cancel();
        tokio::time::sleep(hand_over).await;
        for handle in &handles {
            handle.graceful_shutdown(Some(settings.shutdown_timeout.0));
        }
        world.close_sockets().await;
        while handles.iter().any(|handle| handle.connection_count() > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.end.cancel();
        let _ = tokio::time::timeout(BACKGROUND_WAIT, async {
            while background.join_next().await.is_some() {}
        })
        .await;
        world.close().await;
    });
    if end.await.is_err() {
        tracing::warn!("not everything was finished in time");
    }
    Ok(())
}

/// Ends the process after `wait`, whatever hangs: a disk that does not answer, or a thread that
/// never comes back. What was answered is on disk already; the rest was promised to nobody.
fn end_for_sure(wait: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(wait);
        tracing::error!("something does not end; the next start goes on from what is on disk");
        std::process::exit(1);
    });
}

/// Tells the service manager, where there is one that asked for it (`NOTIFY_SOCKET`).
fn tell_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// What stands before a router. Not layers of it: each of those makes a future of its own in a box
/// for every request, for next to nothing.
#[derive(Clone)]
struct Front {
    router: Router,
    /// Says where a request goes, before it is routed.
    enter: fn(Request<Incoming>) -> Request<Incoming>,
    closing: CancellationToken,
}

impl Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        <Router as Service<Request<Incoming>>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Answering {
        let version = request.version();
        let answering = self.router.call((self.enter)(request));
        Answering { answering, version, closing: self.closing.clone() }
    }
}

/// An answer on its way. Once `closing`, every one is the last of its connection: the client's next
/// request opens one to the next process, where otherwise it might be sent just when this one
/// closes.
struct Answering {
    answering: RouteFuture<Infallible>,
    version: Version,
    closing: CancellationToken,
}

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(mut response) = ready!(Pin::new(&mut self.answering).poll(context));
        if self.closing.is_cancelled() && self.version < Version::HTTP_2 {
            response.headers_mut().entry(CONNECTION).or_insert(HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}

async fn load_tls(settings: &Settings) -> Result<Option<RustlsConfig>, Failure> {
    let (Some(cert), Some(key)) = (&settings.tls_cert, &settings.tls_key) else { return Ok(None) };
    for file in [cert, key] {
        std::fs::File::open(file).map_err(|error| {
            Failure::usage(format!("tls: cannot read {}: {error}", file.display()))
        })?;
    }
    let what = |path: &Path| path.display().to_string();
    RustlsConfig::from_pem_file(cert, key)
        .await
        .map(Some)
        .map_err(|error| Failure::usage(format!("tls: {} with {}: {error}", what(cert), what(key))))
}

/// Serves on `listener` until its handle is told to stop.
async fn serve(
    listener: Listener,
    front: Front,
    handle: Handle<Client>,
    tls: Option<RustlsConfig>,
    head_timeout: Duration,
) {
    let mut server = match listener.server(front.closing.clone()) {
        Ok(server) => {
            let server = server.acceptor(NoDelayAcceptor::new()).handle(handle);
            server.first_request_timeout(head_timeout)
        }
        Err(error) => return tracing::error!(%error, "the listener does not work"),
    };
    server.http_builder().http1().header_read_timeout(head_timeout).max_buf_size(HEAD_BYTES_MAX);
    let service = front.into_make_service_with_connect_info::<SocketAddr>();
    let ended = match tls {
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(tls).acceptor(NoDelayAcceptor::new());
            server.acceptor(acceptor).serve(service).await
        }
        None => server.serve(service).await,
    };
    if let Err(error) = ended {
        tracing::error!(%error, "the listener ended");
    }
}

/// The signals that end the program in good order.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::failed);
        let (terminate, interrupt) =
            (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
