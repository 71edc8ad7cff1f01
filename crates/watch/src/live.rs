//! What the sampler publishes and the sessions send.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use pilotage_tap::{ObserveError, Stopper};
use tokio::sync::{broadcast, watch};

use crate::telemetry::Status;

/// Batches that a session may be behind, about three seconds; older ones are lost for its page.
const BEHIND: usize = 64;

/// The present drive, for all sessions. The sampler never waits for a session.
#[derive(Debug)]
pub struct Live {
    /// The drive as JSON: whether there is one, and what is known from its start.
    pub(crate) status: watch::Sender<Utf8Bytes>,
    /// Batches of frames as JSON.
    pub(crate) frames: broadcast::Sender<Utf8Bytes>,
    /// The newest picture, as JPEG.
    pub(crate) picture: watch::Sender<Bytes>,
    /// The newest scan of the lidar, as JSON; empty without one.
    pub(crate) scan: watch::Sender<Utf8Bytes>,
    viewers: AtomicUsize,
    /// For a simulated car; `None` for any other, and without a pilot.
    stopper: Mutex<Option<Stopper>>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            status: watch::Sender::new(Status::Waiting.json()),
            frames: broadcast::Sender::new(BEHIND),
            picture: watch::Sender::new(Bytes::new()),
            scan: watch::Sender::new(Utf8Bytes::default()),
            viewers: AtomicUsize::new(0),
            stopper: Mutex::new(None),
        }
    }
}

impl Live {
    /// The number of open pages.
    pub fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    /// Counts a page, unless there are `most` already.
    pub(crate) fn enter(self: &std::sync::Arc<Self>, most: usize) -> Option<Viewer> {
        let entered = self
            .viewers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |viewers| {
                (viewers < most).then_some(viewers + 1)
            });
        entered.is_ok().then(|| Viewer(self.clone()))
    }

    pub(crate) fn set_stopper(&self, stopper: Option<Stopper>) {
        *self.lock() = stopper;
    }

    /// Whether the car that drives is the simulator's.
    pub(crate) fn is_simulated(&self) -> bool {
        self.lock().is_some()
    }

    /// Sends a stop to the pilot of a simulated car; `None` if no such car drives.
    pub(crate) fn stop_simulated(&self) -> Option<Result<(), ObserveError>> {
        self.lock().as_ref().map(Stopper::stop)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Stopper>> {
        // A panic while the lock is held leaves a valid value.
        self.stopper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open page; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Viewer(std::sync::Arc<Live>);

impl Drop for Viewer {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}
