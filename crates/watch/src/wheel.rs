//! Driving with the page: one page at a time holds the wheel, and writes to the pilot what a gamepad
//! would.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pilotage_gamepad::PageState;
use rustix::fs::{FileType, OFlags};
use tokio::sync::watch;

/// A message that answers an older beat is ignored: it was sent too long ago.
const OLDEST: Duration = Duration::from_millis(200);
/// A page that is silent for longer loses the wheel, and the car is stopped.
const SILENT: Duration = Duration::from_secs(1);
/// The time between two beats.
pub(crate) const BEAT: Duration = Duration::from_millis(50);
/// Beats that are remembered: those of more than [`OLDEST`].
const BEATS: usize = 8;

/// The wheel of a car that is driven with the page.
///
/// The pilot reads the states as those of a gamepad, with all of its rules: the dead-man button, the
/// axes at rest after each arming, a neutral command after 250 ms without a report.
#[derive(Debug)]
pub struct Wheel {
    pipe: OwnedFd,
    /// The page that holds it.
    holder: watch::Sender<Option<u64>>,
    pages: AtomicU64,
}

impl Wheel {
    /// The wheel of the pilot that reads `pipe`.
    ///
    /// # Errors
    /// Fails if it is no pipe, or cannot be set to writes that do not wait.
    pub fn over(pipe: OwnedFd) -> io::Result<Self> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&pipe)?.st_mode);
        if kind != FileType::Fifo {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = rustix::fs::fcntl_getfl(&pipe)?;
        rustix::fs::fcntl_setfl(&pipe, flags | OFlags::NONBLOCK)?;
        Ok(Self {
            pipe,
            holder: watch::Sender::new(None),
            pages: AtomicU64::new(0),
        })
    }

    /// A number for a page.
    pub(crate) fn page(&self) -> u64 {
        self.pages.fetch_add(1, Ordering::Relaxed)
    }

    /// Which page holds the wheel.
    pub(crate) fn holder(&self) -> watch::Receiver<Option<u64>> {
        self.holder.subscribe()
    }

    /// Gives the wheel to a page, unless another has it.
    pub(crate) fn take(&self, page: u64) -> bool {
        self.holder.send_if_modified(|holder| {
            let free = holder.is_none();
            if free {
                *holder = Some(page);
            }
            free
        })
    }

    fn free(&self) {
        self.holder.send_replace(None);
    }

    /// Writes a state. A pilot that does not read gets none: to it, the page is silent.
    fn write(&self, state: PageState) {
        // A record is shorter than what a pipe takes at once or not at all (PIPE_BUF).
        let _ = rustix::io::write(&self.pipe, &state.records());
    }
}

/// What a page may send.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Asked {
    /// Take the wheel.
    Take,
    /// Give it back.
    Release,
    /// Arm the car.
    Arm,
    /// Drive.
    Drive {
        /// -1 (right) to 1 (left).
        steering: f32,
        /// -1 (back) to 1 (ahead).
        throttle: f32,
        /// Whether the operator holds the stick or a key.
        held: bool,
        /// Counts the messages.
        number: u64,
        /// The latest beat that the page has received.
        beat: u64,
    },
}

/// The hold of one page on the wheel. It ends with a stop, unless it is given back.
#[derive(Debug)]
pub(crate) struct Hold {
    number: u64,
    heard: Instant,
    beat: u64,
    /// When the latest beats were sent.
    beats: [Instant; BEATS],
}

/// Why a page lost the wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It sent nothing for a second.
    Silent,
    /// It broke the protocol.
    Wrong,
}

impl Hold {
    /// Begins at `now`, with a report of everything at rest.
    pub(crate) fn new(wheel: &Wheel, now: Instant) -> Self {
        wheel.write(PageState::default());
        Self {
            number: 0,
            heard: now,
            beat: 0,
            beats: [now; BEATS],
        }
    }

    /// The next beat, which the page answers.
    pub(crate) fn beat(&mut self, now: Instant) -> Result<u64, Lost> {
        if now.duration_since(self.heard) > SILENT {
            return Err(Lost::Silent);
        }
        self.beat += 1;
        self.beats[self.beat as usize % BEATS] = now;
        Ok(self.beat)
    }

    /// Passes a message on.
    pub(crate) fn ask(&mut self, wheel: &Wheel, asked: Asked, now: Instant) -> Result<(), Lost> {
        match asked {
            Asked::Arm => {
                let pressed = PageState {
                    arm: true,
                    ..PageState::default()
                };
                wheel.write(pressed);
                wheel.write(PageState::default());
            }
            Asked::Drive {
                steering,
                throttle,
                held,
                number,
                beat,
            } => {
                if number <= self.number || beat > self.beat {
                    return Err(Lost::Wrong);
                }
                self.number = number;
                let behind = self.beat - beat;
                let sent = self.beats[beat as usize % BEATS];
                // What was under way for too long is not what the operator wants now.
                if behind < BEATS as u64 && now.duration_since(sent) <= OLDEST {
                    self.heard = now;
                    wheel.write(PageState {
                        steering,
                        throttle,
                        dead_man: held,
                        ..PageState::default()
                    });
                }
            }
            Asked::Take | Asked::Release => {}
        }
        Ok(())
    }

    /// Ends the hold: the car is neutral, and stopped unless the page gave the wheel back.
    pub(crate) fn end(self, wheel: &Wheel, stop: bool) {
        wheel.write(PageState {
            stop,
            ..PageState::default()
        });
        wheel.write(PageState::default());
        wheel.free();
    }
}
