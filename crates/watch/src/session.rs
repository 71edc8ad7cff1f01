//! One page's WebSocket: batches and pictures to the page, receipts for pictures from it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::Live;
use crate::live::Viewer;

/// Pictures that were sent and that the page has not shown yet. A slow link so gets fewer pictures,
/// and never old ones.
const IN_FLIGHT: u32 = 2;
/// How long the socket may take no more data before the connection ends.
const STALLED: Duration = Duration::from_secs(5);
/// The page's receipt for a picture, the only message that it sends.
const RECEIPT: &str = "shown";

/// Sends until the page is closed, stalls, or breaks the protocol.
pub(crate) async fn run(mut socket: WebSocket, live: Arc<Live>, _viewer: Viewer) {
    let mut status = live.status.subscribe();
    let mut frames = live.frames.subscribe();
    let mut pictures = live.picture.subscribe();
    status.mark_changed();
    let mut in_flight = 0;
    loop {
        let message = tokio::select! {
            biased;
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) if text.as_str() == RECEIPT => {
                    in_flight = u32::saturating_sub(in_flight, 1);
                    continue;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                _ => return,
            },
            changed = status.changed() => match changed {
                Ok(()) => Message::Text(status.borrow_and_update().clone()),
                Err(_) => return,
            },
            batch = frames.recv() => match batch {
                Ok(batch) => Message::Text(batch),
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
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
        match timeout(STALLED, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}
