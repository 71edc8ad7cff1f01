//! The HTTP server: one page, one WebSocket, three actions.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path as Segment, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::access::Kind;
use crate::{Access, Brake, Live, Recordings, Wheel, command, html, recordings, session};

/// The page; `{{wheel}}` is replaced by [`WHEEL`], `{{inputs}}` by [`INPUTS`], `{{sets}}` by whether the pilot takes
/// commands, and `{{recordings}}` by whether recordings are shown.
const PAGE: &str = include_str!("page.html");
/// The page's script for driving.
const WHEEL: &str = include_str!("wheel.js");
/// The page's script for what the network gets besides the picture.
const INPUTS: &str = include_str!("inputs.js");
/// Most open connections; further ones are closed at once.
const MOST_CONNECTIONS: usize = 64;
/// Most open pages. It leaves connections for a stop.
const MOST_VIEWERS: usize = 32;
/// Bytes of a request's line and headers.
const LONGEST_HEAD: usize = 8 << 10;
/// How long a client may take to send them.
const SLOWEST_HEAD: Duration = Duration::from_secs(5);
/// Bytes of a message from a page: a receipt, or the operator's hand.
const LONGEST_MESSAGE: usize = 256;

/// Serves the page.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    access: Arc<Access>,
}

/// Why the page cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("{address}: the page cannot be served there: {reason}; choose another with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        reason: std::io::Error,
    },
}

/// What each request sees.
#[derive(Clone)]
struct Shared {
    access: Arc<Access>,
    live: Arc<Live>,
    brake: Arc<dyn Brake>,
    wheel: Option<Arc<Wheel>>,
    commands: Option<PathBuf>,
    recordings: Option<Arc<Recordings>>,
}

/// What a page can do to a car, and to recordings.
pub struct Actions {
    /// Stops and disarms it.
    pub brake: Arc<dyn Brake>,
    /// Drives it; without it, no page drives.
    pub wheel: Option<Arc<Wheel>>,
    /// The socket of a pilot that takes high-level commands.
    pub commands: Option<PathBuf>,
    /// The recordings that it shows and marks.
    pub recordings: Option<Arc<Recordings>>,
}

/// The answer to an action.
#[derive(Serialize)]
struct Answer {
    done: bool,
    text: String,
}

impl Server {
    /// Listens on `address`; port 0 is any free port. `make` makes the access for the address that
    /// was given.
    ///
    /// # Errors
    /// When the address is in use, or not one of this computer.
    pub async fn listen(
        address: SocketAddr,
        make: impl FnOnce(SocketAddr) -> Access,
    ) -> Result<Self, ServerError> {
        let failed = |reason| ServerError::Listen { address, reason };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let access = Arc::new(make(listener.local_addr().map_err(failed)?));
        Ok(Self { listener, access })
    }

    /// The address of the page for other computers, with its token; `None` if they do not reach it.
    pub fn url_from_elsewhere(&self) -> Option<String> {
        let address = self.listener.local_addr().ok()?.ip();
        if address.is_loopback() {
            return None;
        }
        if !address.is_unspecified() {
            return Some(self.url());
        }
        // The address from which packets to another network would be sent. Nothing is sent.
        let socket = UdpSocket::bind((address, 0)).ok()?;
        let outside = match address {
            IpAddr::V4(_) => IpAddr::from([192, 0, 2, 1]),
            IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
        };
        socket.connect((outside, 9)).ok()?;
        let own = match socket.local_addr().ok()?.ip() {
            IpAddr::V4(own) => own.to_string(),
            IpAddr::V6(own) => format!("[{own}]"),
        };
        Some(self.url().replacen("localhost", &own, 1))
    }

    /// The address of the page, with its token.
    pub fn url(&self) -> String {
        self.access.url()
    }

    /// Serves until the future is dropped.
    pub async fn run(self, live: Arc<Live>, actions: Actions) {
        let router = router(Shared {
            access: self.access,
            live,
            brake: actions.brake,
            wheel: actions.wheel,
            commands: actions.commands,
            recordings: actions.recordings,
        });
        let free = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Without a free descriptor, accepting fails again at once.
                    log::warn!("a connection cannot be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&free).try_acquire_owned() else {
                continue;
            };
            let _ = stream.set_nodelay(true);
            let service = TowerToHyperService::new(router.clone());
            let mut server = http1::Builder::new();
            server
                .timer(TokioTimer::new())
                .header_read_timeout(SLOWEST_HEAD)
                .max_buf_size(LONGEST_HEAD);
            let served = server
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::spawn(async move {
                // A client that breaks the protocol or vanishes is not an error of this program.
                let _ = served.await;
                drop(place);
            });
        }
    }
}

fn router(shared: Shared) -> Router {
    let recordings = shared.recordings.clone();
    let recordings = recordings.map_or_else(Router::new, recordings::routes);
    Router::new()
        .route("/", get(page))
        .route("/live", get(live))
        .route("/stop", post(stop))
        .route("/disarm", post(disarm))
        .route("/command/{name}", post(command))
        .with_state(shared.clone())
        .nest("/recordings", recordings)
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(middleware::from_fn_with_state(shared, check))
}

/// Rejects what may not be here, before any route.
async fn check(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let kind = match (request.method(), request.uri().path()) {
        (&Method::GET, "/live") => Kind::Act,
        (&Method::GET | &Method::HEAD, _) => Kind::Read,
        (_, "/stop") => Kind::Stop,
        _ => Kind::Act,
    };
    let mut response = if has_body(&request) {
        (StatusCode::PAYLOAD_TOO_LARGE, "no request has a body\n").into_response()
    } else {
        match shared.access.check(kind, request.uri(), request.headers()) {
            Ok(()) => next.run(request).await,
            Err(denied) => (denied.status(), denied.text()).into_response(),
        }
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'"));
    response
}

fn has_body(request: &Request) -> bool {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

async fn page(State(shared): State<Shared>) -> Response {
    html::page(
        &PAGE
            .replace("{{wheel}}", WHEEL)
            .replace("{{inputs}}", INPUTS)
            .replace("{{sets}}", &shared.commands.is_some().to_string())
            .replace("{{recordings}}", &shared.recordings.is_some().to_string()),
    )
}

async fn live(State(shared): State<Shared>, upgrade: WebSocketUpgrade) -> Response {
    let Some(viewer) = shared.live.enter(MOST_VIEWERS) else {
        let text = format!("{MOST_VIEWERS} pages are open already: close one\n");
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    upgrade
        .max_message_size(LONGEST_MESSAGE)
        .max_frame_size(LONGEST_MESSAGE)
        .on_upgrade(move |socket| {
            session::run(socket, shared.live, viewer, shared.brake, shared.wheel)
        })
}

async fn stop(State(shared): State<Shared>) -> Response {
    // What waits in the pilot's pipe must not arm the car again.
    if let Some(wheel) = &shared.wheel {
        wheel.stop();
    }
    act(move || shared.brake.stop()).await
}

async fn disarm(State(shared): State<Shared>) -> Response {
    act(move || shared.brake.disarm()).await
}

async fn command(State(shared): State<Shared>, Segment(name): Segment<String>) -> Response {
    act(move || command::set(shared.commands.as_deref(), &name)).await
}

/// Runs an action, which may block, on another thread.
async fn act<E>(action: impl FnOnce() -> Result<String, E> + Send + 'static) -> Response
where
    E: std::error::Error + Send + 'static,
{
    let answer = match tokio::task::spawn_blocking(action).await {
        Ok(Ok(text)) => Answer { done: true, text },
        Ok(Err(error)) => Answer {
            done: false,
            text: error.to_string(),
        },
        Err(_) => Answer {
            done: false,
            text: "an error of this program, see its messages: `pilotage stop` stops the car"
                .to_owned(),
        },
    };
    let status = match answer.done {
        true => StatusCode::OK,
        false => StatusCode::BAD_GATEWAY,
    };
    log::info!("{}", answer.text);
    let json = serde_json::to_string(&answer).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], json).into_response()
}
