//! Driving with the page: one page at a time holds the wheel, and writes to the pilot what a gamepad
//! would.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pilotage_gamepad::PageState;
use pilotage_vehicle::monotonic;
use rustix::fs::{FileType, OFlags};
use tokio::sync::watch;

/// A message that answers an older beat is ignored: it was sent too long ago.
const OLDEST: Duration = Duration::from_millis(200);
/// A page that is silent for longer loses the wheel, and the car is stopped.
const SILENT: Duration = Duration::from_secs(1);
/// The time between two beats.
pub(crate) const BEAT: Duration = Duration::from_millis(50);
/// Bytes that the pipe holds: the least that Linux allows.
const PIPE: usize = 4096;
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
        // Little may wait in it for a pilot that hangs; the pilot ignores what is old anyway.
        let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE);
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

    /// Presses and releases the stop button, whichever page holds the wheel.
    pub(crate) fn stop(&self) {
        self.write(PageState {
            stop: true,
            ..PageState::default()
        });
        self.write(PageState::default());
    }

    /// Writes a state. A pilot that does not read gets none: to it, the page is silent.
    fn write(&self, state: PageState) {
        // A record is shorter than what a pipe takes at once or not at all (PIPE_BUF).
        let _ = rustix::io::write(&self.pipe, &state.records(monotonic()));
    }
}

/// What a page may request.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum PageRequest {
    /// Take the wheel.
    Take,
    /// Give it back.
    Release,
    /// Arm the car.
    Arm {
        /// Counts the messages.
        number: u64,
        /// The latest beat that the page has received.
        beat: u64,
    },
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

/// Why a page lost the wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// It sent nothing for a second, or only what was under way for too long.
    #[error("the page that drives is silent")]
    Silent,
    /// It broke the protocol.
    #[error("the page that drives sends wrong messages")]
    Wrong,
}

/// The hold of one page on the wheel. It ends with a stop, unless the page releases it.
#[derive(Debug)]
pub(crate) struct Hold {
    wheel: Arc<Wheel>,
    number: u64,
    /// When the latest message arrived that was not under way for too long.
    last_message: Instant,
    beat: u64,
    /// When the latest beats were sent.
    beats: [Instant; BEATS],
    released: bool,
}

impl Hold {
    /// Gives the wheel to `page` at `now`, with a report of everything at rest; `None` if another page
    /// has it.
    pub(crate) fn take(wheel: &Arc<Wheel>, page: u64, now: Instant) -> Option<Self> {
        let taken = wheel.holder.send_if_modified(|holder| {
            let free = holder.is_none();
            if free {
                *holder = Some(page);
            }
            free
        });
        taken.then(|| {
            wheel.write(PageState::default());
            Self {
                wheel: Arc::clone(wheel),
                number: 0,
                last_message: now,
                beat: 0,
                beats: [now; BEATS],
                released: false,
            }
        })
    }

    /// The next beat, which the page answers.
    pub(crate) fn beat(&mut self, now: Instant) -> Result<u64, Lost> {
        if now.duration_since(self.last_message) > SILENT {
            return Err(Lost::Silent);
        }
        self.beat += 1;
        self.beats[self.beat as usize % BEATS] = now;
        Ok(self.beat)
    }

    /// Arms the car.
    pub(crate) fn arm(&mut self, number: u64, beat: u64, now: Instant) -> Result<(), Lost> {
        if self.is_fresh(number, beat, now)? {
            self.wheel.write(PageState {
                arm: true,
                ..PageState::default()
            });
            self.wheel.write(PageState::default());
        }
        Ok(())
    }

    /// Passes on the operator's hand. What was under way for too long moves nothing; that the stick
    /// was released counts however late.
    pub(crate) fn drive(
        &mut self,
        state: PageState,
        (number, beat): (u64, u64),
        now: Instant,
    ) -> Result<(), Lost> {
        match self.is_fresh(number, beat, now)? {
            true => self.wheel.write(state),
            false if !state.dead_man => self.wheel.write(PageState::default()),
            false => {}
        }
        Ok(())
    }

    /// Whether a message was sent a short time ago.
    fn is_fresh(&mut self, number: u64, beat: u64, now: Instant) -> Result<bool, Lost> {
        if number <= self.number || beat > self.beat {
            return Err(Lost::Wrong);
        }
        self.number = number;
        let sent = self.beats[beat as usize % BEATS];
        let fresh = self.beat - beat < BEATS as u64 && now.duration_since(sent) <= OLDEST;
        if fresh {
            self.last_message = now;
        }
        Ok(fresh)
    }

    /// The page releases the wheel: the car is neutral, and stays armed.
    pub(crate) fn release(mut self) {
        self.released = true;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        match self.released {
            true => self.wheel.write(PageState::default()),
            false => self.wheel.stop(),
        }
        self.wheel.holder.send_replace(None);
    }
}
