//! The observers' requests to the pilot's loop: two atomics that the server's thread sets.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The largest number of pictures per second that the loop copies for observers.
pub const MAX_PICTURES_PER_SECOND: u32 = 30;

#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// Nanoseconds from one picture to the next; 0 if no observer requests pictures.
    picture_interval: AtomicU64,
    stop: AtomicBool,
}

impl Requests {
    pub(crate) fn set_picture_interval(&self, interval: Option<Duration>) {
        let nanos = interval.map_or(0, |interval| interval.as_nanos() as u64);
        self.picture_interval.store(nanos, Ordering::Relaxed);
    }

    pub(crate) fn picture_interval(&self) -> Option<Duration> {
        match self.picture_interval.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    pub(crate) fn request_stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether a stop was requested since the last call.
    pub(crate) fn take_stop(&self) -> bool {
        // In the usual case, without a request, nothing is written.
        self.stop.load(Ordering::Relaxed) && self.stop.swap(false, Ordering::Acquire)
    }
}
