//! One page's WebSocket: batches and pictures to the page; receipts for pictures, and the operator's
//! hand, from it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use pilotage_gamepad::PageState;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::live::Viewer;
use crate::wheel::{BEAT, Hold, Lost, PageRequest};
use crate::{Brake, Live, Wheel};

/// Pictures that were sent and that the page has not shown yet. A slow link so gets fewer pictures,
/// and never old ones.
const IN_FLIGHT: u32 = 2;
/// How long the socket may take no more data before the connection ends.
const STALLED: Duration = Duration::from_secs(5);
/// The same while the page holds the wheel: its beats wait behind the data.
const STALLED_WHEEL: Duration = Duration::from_secs(1);
/// The page's receipt for a picture.
const RECEIPT: &str = "shown";
/// Most messages of a page in a second: five times what it needs.
const MOST_MESSAGES: u32 = 250;

/// Serves a page until it is closed, stalls, or breaks the protocol. A page that then holds the
/// wheel stops the car.
pub(crate) async fn run(
    socket: WebSocket,
    live: Arc<Live>,
    _viewer: Viewer,
    brake: Arc<dyn Brake>,
    wheel: Option<Arc<Wheel>>,
) {
    let mut driving = wheel.map(Driving::new);
    let lost = serve(socket, &live, driving.as_mut()).await;
    // The wheel is free again when the car has been stopped.
    let Some((wheel, _hold)) = driving.and_then(|it| it.hold.map(|hold| (it.wheel, hold))) else {
        return;
    };
    wheel.stop();
    let reason = lost.map_or_else(
        || "the page that drives is gone".to_owned(),
        |lost| lost.to_string(),
    );
    log::warn!("{reason}: the car is being stopped");
    // The wheel's stop needs a pilot that reads it.
    match tokio::task::spawn_blocking(move || brake.stop()).await {
        Ok(Ok(text)) => log::info!("{text}"),
        Ok(Err(error)) => log::error!("{error}"),
        Err(error) => log::error!("the car may not be stopped: {error}"),
    }
}

/// A page's part in driving.
struct Driving {
    wheel: Arc<Wheel>,
    page: u64,
    holder: watch::Receiver<Option<u64>>,
    hold: Option<Hold>,
}

impl Driving {
    fn new(wheel: Arc<Wheel>) -> Self {
        let mut holder = wheel.holder();
        holder.mark_changed();
        Self {
            page: wheel.page(),
            holder,
            hold: None,
            wheel,
        }
    }

    /// Who holds the wheel, as a message to this page.
    fn state(&mut self) -> Message {
        let state = match *self.holder.borrow_and_update() {
            None => "free",
            Some(page) if page == self.page => "yours",
            Some(_) => "taken",
        };
        text(&serde_json::json!({ "kind": "wheel", "state": state }))
    }

    /// Does what the page requests.
    fn handle(&mut self, request: PageRequest) -> Result<(), Lost> {
        let now = Instant::now();
        match (request, &mut self.hold) {
            (PageRequest::Take, None) => self.hold = Hold::take(&self.wheel, self.page, now),
            (PageRequest::Release, hold) => {
                if let Some(hold) = hold.take() {
                    hold.release();
                }
            }
            (PageRequest::Arm { number, beat }, Some(hold)) => hold.arm(number, beat, now)?,
            (
                PageRequest::Drive {
                    steering,
                    throttle,
                    held: dead_man,
                    number,
                    beat,
                },
                Some(hold),
            ) => {
                let state = PageState {
                    steering,
                    throttle,
                    dead_man,
                    ..PageState::default()
                };
                hold.drive(state, (number, beat), now)?;
            }
            // It has the wheel already, or lost it a moment ago.
            (PageRequest::Take, Some(_))
            | (PageRequest::Arm { .. } | PageRequest::Drive { .. }, None) => {}
        }
        Ok(())
    }

    /// The next beat, if this page holds the wheel.
    fn beat(&mut self) -> Result<Option<u64>, Lost> {
        let hold = self.hold.as_mut();
        hold.map(|hold| hold.beat(Instant::now())).transpose()
    }
}

/// Returns why the page loses the wheel, if that is not the end of the connection.
async fn serve(
    mut socket: WebSocket,
    live: &Live,
    mut driving: Option<&mut Driving>,
) -> Option<Lost> {
    let mut status = live.status.subscribe();
    let mut frames = live.frames.subscribe();
    let mut pictures = live.picture.subscribe();
    let mut scans = live.scan.subscribe();
    status.mark_changed();
    let mut in_flight = 0;
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut quota = Quota::default();
    loop {
        let holds = driving.as_ref().is_some_and(|it| it.hold.is_some());
        let message = tokio::select! {
            biased;
            _ = beats.tick(), if holds => match driving.as_deref_mut()?.beat() {
                Ok(Some(beat)) => text(&serde_json::json!({ "kind": "beat", "beat": beat })),
                Ok(None) => continue,
                Err(lost) => return Some(lost),
            },
            received = socket.recv() => {
                let message = received?.ok()?;
                if !quota.allows(Instant::now()) {
                    return Some(Lost::Wrong);
                }
                match message {
                    Message::Text(text) if text.as_str() == RECEIPT => {
                        in_flight = u32::saturating_sub(in_flight, 1);
                    }
                    Message::Text(text) => {
                        let Ok(request) = serde_json::from_str(&text) else {
                            return Some(Lost::Wrong);
                        };
                        if let Err(lost) = driving.as_deref_mut()?.handle(request) {
                            return Some(lost);
                        }
                    }
                    Message::Ping(_) | Message::Pong(_) => {}
                    Message::Binary(_) | Message::Close(_) => return None,
                }
                continue;
            },
            state = changed(driving.as_deref_mut()) => state,
            changed = status.changed() => match changed {
                Ok(()) => Message::Text(status.borrow_and_update().clone()),
                Err(_) => return None,
            },
            batch = frames.recv() => match batch {
                Ok(batch) => Message::Text(batch),
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return None,
            },
            changed = scans.changed(), if in_flight < IN_FLIGHT => {
                let scan = scans.borrow_and_update().clone();
                if changed.is_err() || scan.is_empty() {
                    continue;
                }
                Message::Text(scan)
            },
            changed = pictures.changed(), if in_flight < IN_FLIGHT => {
                let picture: Bytes = pictures.borrow_and_update().clone();
                if changed.is_err() || picture.is_empty() {
                    continue;
                }
                in_flight += 1;
                Message::Binary(picture)
            },
        };
        let patience = if holds { STALLED_WHEEL } else { STALLED };
        match timeout(patience, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return None,
        }
    }
}

/// Waits until another page holds the wheel, or none; forever without a wheel.
async fn changed(driving: Option<&mut Driving>) -> Message {
    match driving {
        Some(driving) => {
            // The sender lives as long as the wheel, which this page has.
            let _ = driving.holder.changed().await;
            driving.state()
        }
        None => std::future::pending().await,
    }
}

fn text(message: &serde_json::Value) -> Message {
    Message::Text(Utf8Bytes::from(message.to_string()))
}

/// Counts a page's messages.
#[derive(Default)]
struct Quota {
    second: Option<Instant>,
    messages: u32,
}

impl Quota {
    fn allows(&mut self, now: Instant) -> bool {
        let is_over = |began: Instant| now.duration_since(began) >= Duration::from_secs(1);
        if self.second.is_none_or(is_over) {
            (self.second, self.messages) = (Some(now), 0);
        }
        self.messages += 1;
        self.messages <= MOST_MESSAGES
    }
}
