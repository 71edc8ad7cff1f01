//! A camera that is supervised, and reopened when it is lost.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use pilotage_vehicle::{Clock, Time};
use pilotage_vision::{Frame, PixelFormat};

use super::monitor::{Backoff, Finding, Limits, Monitor};
use super::{BoxedCamera, Camera, CameraError, Counters, Patience};

/// After this long without a loss, the back-off is reset to its shortest wait.
const RESET_AFTER: Duration = Duration::from_secs(10);

/// Reopens a camera outside of the loop, because the kernel may take seconds for it.
pub trait Opener {
    /// Closes `old` now, and opens the camera after `wait`.
    fn begin(&mut self, old: Option<BoxedCamera>, wait: Duration);

    /// The result, if it is known within `timeout`.
    fn wait(&mut self, timeout: Duration) -> Option<Result<BoxedCamera, CameraError>>;
}

/// Opens a camera on a new thread each time.
pub struct ThreadOpener {
    open: Arc<dyn Fn() -> Result<BoxedCamera, CameraError> + Send + Sync>,
    answer: Option<Receiver<Result<BoxedCamera, CameraError>>>,
}

impl ThreadOpener {
    /// Opens with `open`.
    pub fn new(
        open: impl Fn() -> Result<BoxedCamera, CameraError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            open: Arc::new(open),
            answer: None,
        }
    }
}

impl Opener for ThreadOpener {
    fn begin(&mut self, old: Option<BoxedCamera>, wait: Duration) {
        let open = Arc::clone(&self.open);
        let (sender, receiver) = mpsc::sync_channel(1);
        self.answer = Some(receiver);
        let work = move || {
            drop(old);
            thread::sleep(wait);
            // The receiver is gone if the camera was dropped in the meantime.
            let _ = sender.send(open());
        };
        // If the thread cannot start, the channel has no sender, which counts as a failed attempt.
        let _ = thread::Builder::new().name("camera".to_owned()).spawn(work);
    }

    fn wait(&mut self, timeout: Duration) -> Option<Result<BoxedCamera, CameraError>> {
        let answer = match self.answer.as_ref()?.recv_timeout(timeout) {
            Err(RecvTimeoutError::Timeout) => return None,
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err(CameraError::Reopening {
                reason: "the camera could not be opened (the attempt ended without a result)"
                    .to_owned(),
            }),
        };
        self.answer = None;
        Some(answer)
    }
}

/// A camera that is checked ([`Monitor`]), and reopened by `opener` when it is lost, stuck or
/// frozen. While the camera is lost, each [`Camera::next`] fails after at most the time-out. The
/// call in which the camera is reopened may take twice the time-out.
pub struct Supervised<O, C> {
    camera: Option<BoxedCamera>,
    opener: O,
    clock: C,
    monitor: Monitor,
    backoff: Backoff,
    timeout: Duration,
    description: String,
    format: (PixelFormat, u32, u32),
    period: Duration,
    /// When the camera was opened, and when its last frame came.
    opened: Time,
    last: Option<Time>,
    /// Why the camera was lost, or why the latest attempt to reopen it failed.
    reason: String,
    /// Added to the camera's sequence numbers, so that they keep increasing after the camera is
    /// reopened.
    offset: u64,
    number: Option<u64>,
    /// The sum of the counters of closed cameras.
    counters: Counters,
}

impl<O: Opener, C: Clock> Supervised<O, C> {
    /// Supervises `camera`.
    pub fn new(
        camera: BoxedCamera,
        opener: O,
        clock: C,
        limits: Limits,
        timeout: Duration,
    ) -> Self {
        let (format, width, height) = camera.format();
        let len = format.frame_len(width, height).unwrap_or(0);
        Self {
            opener,
            monitor: Monitor::new(limits, len),
            backoff: Backoff::default(),
            timeout,
            description: camera.describe(),
            format: (format, width, height),
            period: camera.frame_period(),
            opened: clock.now(),
            last: None,
            reason: String::new(),
            offset: 0,
            number: None,
            counters: Counters::default(),
            camera: Some(camera),
            clock,
        }
    }

    /// Waits for the lost camera: returns the reopened camera, or an error.
    fn wait_for_reopen(&mut self) -> Result<BoxedCamera, CameraError> {
        let reopening = |reason: &str| CameraError::Reopening {
            reason: reason.to_owned(),
        };
        let answer = self.opener.wait(self.timeout);
        match answer {
            None => Err(reopening(&self.reason)),
            Some(Ok(camera)) if camera.format() == self.format => {
                self.opened = self.clock.now();
                self.last = None;
                self.offset = self.number.map_or(0, |number| number + 1);
                self.monitor.restart();
                self.counters.reopened += 1;
                log::warn!("the camera is open again: {}", self.description);
                Ok(camera)
            }
            Some(Ok(camera)) => {
                let error = CameraError::Changed {
                    before: kind(self.format),
                    now: kind(camera.format()),
                };
                self.opener.begin(Some(camera), self.backoff.wait());
                Err(error)
            }
            Some(Err(error)) => {
                self.reason = match error {
                    // Only the reason: the error that is returned states the rest.
                    CameraError::Reopening { reason } => reason,
                    error => error.to_string(),
                };
                self.opener.begin(None, self.backoff.wait());
                Err(reopening(&self.reason))
            }
        }
    }

    /// Closes the camera because of `error`.
    fn lose(&mut self, error: &CameraError) {
        // The error is returned, and reported by the caller.
        log::info!("the camera is lost: {error}");
        self.reason = error.to_string();
        if let Some(camera) = &self.camera {
            self.counters = self.counters + camera.counters();
        }
        self.opener.begin(self.camera.take(), self.backoff.wait());
    }

    /// Whether a camera that failed with `error` must be closed.
    fn is_lost(&self, error: &CameraError) -> bool {
        match error {
            // Reopening does not help.
            CameraError::FrameSize { .. }
            | CameraError::Length { .. }
            | CameraError::Folder(_)
            | CameraError::Sizes { .. }
            | CameraError::Ended { .. } => false,
            CameraError::NoFrame { .. } => {
                let now = self.clock.now();
                let camera = self.camera.as_ref();
                let patience = camera.map_or_else(Patience::default, |camera| camera.patience());
                match self.last {
                    Some(last) => now.since(last) >= patience.frame,
                    None => now.since(self.opened) >= patience.first_frame,
                }
            }
            _ => true,
        }
    }

    fn check_frame(&mut self, frame: &mut Frame) -> Result<(), CameraError> {
        let now = self.clock.now();
        frame.sequence = frame.sequence.saturating_add(self.offset);
        self.number = Some(frame.sequence);
        self.last = Some(now);
        match self.monitor.check(frame.view()) {
            None => {
                if now.since(self.opened) >= RESET_AFTER {
                    self.backoff.reset();
                }
                Ok(())
            }
            // A covered lens or darkness: reopening does not help.
            Some(Finding::Black(frames)) => Err(CameraError::Black { frames }),
            Some(Finding::Frozen(frames)) => {
                let error = CameraError::Frozen { frames };
                self.lose(&error);
                Err(error)
            }
        }
    }
}

impl<O: Opener, C: Clock> Camera for Supervised<O, C> {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn format(&self) -> (PixelFormat, u32, u32) {
        self.format
    }

    fn frame_period(&self) -> Duration {
        self.period
    }

    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError> {
        if self.camera.is_none() {
            let camera = self.wait_for_reopen()?;
            self.camera = Some(camera);
        }
        let Some(camera) = &mut self.camera else {
            return Err(CameraError::Reopening {
                reason: self.reason.clone(),
            });
        };
        match camera.next(frame) {
            Ok(()) => self.check_frame(frame),
            Err(error) => {
                let lost = self.is_lost(&error);
                let error = match error {
                    CameraError::NoFrame { camera, hint, .. }
                        if lost && self.last.is_none() && hint.is_empty() =>
                    {
                        CameraError::NoFirstFrame {
                            camera,
                            waited: self.clock.now().since(self.opened),
                        }
                    }
                    error => error,
                };
                if lost {
                    self.lose(&error);
                }
                Err(error)
            }
        }
    }

    fn counters(&self) -> Counters {
        let open = self.camera.as_ref().map(|camera| camera.counters());
        self.counters + open.unwrap_or_default()
    }
}

fn kind((format, width, height): (PixelFormat, u32, u32)) -> String {
    format!("{width}x{height} {format:?}")
}

#[cfg(test)]
mod tests;
