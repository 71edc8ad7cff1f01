//! An operator's gamepad: the kernel's event device, and what its sticks and buttons mean.
//!
//! [`Gamepad`] reads one, [`Hand`] turns what it reports into driving, and [`Buttons`] reads
//! arm and stop while an engine drives. [`RawPad`] reads one whose mapping is not known yet,
//! and [`Lesson`] finds the mapping.

mod axis;
mod buttons;
mod config;
mod event_device;
mod hand;
pub mod known;
mod lesson;
mod notice;
mod operator;
mod orders;
mod raw;
mod records;
mod source;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use arrayvec::ArrayVec;
use pilotage_guard::Limits;
use pilotage_vehicle::Time;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub use axis::{Misplaced, Range};
pub use buttons::{AGAIN, Buttons};
pub use config::{Axis, AxisName, Button, GamepadConfig, Mapping, Rest, UnknownName};
pub use hand::{Hand, Input, Presses, Snapshot, Wish};
pub use lesson::{Lesson, Question, Step};
pub use notice::{Notice, Role};
pub use operator::Operator;
pub use orders::Orders;
pub use raw::RawPad;
pub use source::Capabilities;

use source::AnySource;

/// Inputs that are read at once.
const BATCH: usize = 64;
/// More than these at one iteration is no hand's: what is left waits for the next.
const MOST_BATCHES: usize = 16;

/// Why there is no gamepad, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum GamepadError {
    /// It cannot be opened.
    #[error("{path}: the gamepad cannot be opened ({reason}): {fix}")]
    Open {
        /// Its node.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
        /// What to do.
        fix: &'static str,
    },
    /// It has not what car.toml asks of it.
    #[error(
        "{path} ({name}) has no {lacks}: name what it has in car.toml's [gamepad]; `pilotage \
         gamepad --device {path}` shows it"
    )]
    Lacks {
        /// Its node.
        path: PathBuf,
        /// What it calls itself.
        name: String,
        /// Axes and buttons.
        lacks: String,
    },
    /// There is none that fits.
    #[error(
        "no gamepad: none of the {seen} event devices in /dev/input that may be read here has what \
         [gamepad] asks for ({wanted}); plug it in or pair it (`bluetoothctl`){hidden}"
    )]
    None {
        /// How many were looked at.
        seen: usize,
        /// What one must have.
        wanted: String,
        /// What of those that may not be read.
        hidden: String,
    },
    /// It was there.
    #[error("the gamepad is gone: {0}")]
    Gone(std::io::Error),
}

/// A gamepad that is there.
pub struct Gamepad {
    source: AnySource,
    mapping: Mapping,
    batch: ArrayVec<Input, BATCH>,
    hand: Hand,
}

impl Gamepad {
    /// Opens the gamepad that `config` describes, for a car held to `limits`.
    ///
    /// # Errors
    /// When it is not there, may not be read, or lacks an axis or a button.
    pub fn open(config: &GamepadConfig, limits: &Limits) -> Result<Self, GamepadError> {
        let (source, mapping) = source::open(config)?;
        let ranges = mapping.axes().map(|axis| source.range(axis));
        let hand = Hand::new(config, &mapping, ranges, limits);
        Ok(Self {
            source,
            mapping,
            batch: ArrayVec::new(),
            hand,
        })
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        self.source.describe()
    }

    /// What its axes and buttons are for.
    pub const fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Waits until it reports something, at most for `patience`.
    pub fn wait(&self, patience: Duration) {
        wait(self.source.fd(), patience);
    }

    /// Reads all that it has reported, as of `now`, and never waits. Whether all was read:
    /// then what is known of it is how it is.
    ///
    /// # Errors
    /// When it is gone.
    pub fn read(&mut self, now: Time) -> Result<bool, GamepadError> {
        self.learn(now)?;
        for _ in 0..MOST_BATCHES {
            self.source
                .read(&mut self.batch)
                .map_err(GamepadError::Gone)?;
            if self.batch.is_empty() {
                return Ok(true);
            }
            for index in 0..self.batch.len() {
                self.hand.take(now, self.batch[index]);
                if self.hand.wants_state() {
                    // What came after is older than what is asked for now.
                    self.learn(now)?;
                    if self.hand.is_known() {
                        break;
                    }
                }
            }
            self.batch.clear();
        }
        Ok(false)
    }

    /// What its sticks and buttons mean.
    pub const fn hand(&mut self) -> &mut Hand {
        &mut self.hand
    }

    /// After opening it, and where the kernel dropped events, it is asked how it is.
    fn learn(&mut self, now: Time) -> Result<(), GamepadError> {
        if self.hand.wants_state() {
            let state = self.source.state(&self.mapping);
            match state.map_err(GamepadError::Gone)? {
                Some(snapshot) => self.hand.know(now, snapshot),
                None => self.hand.collect(),
            }
        }
        Ok(())
    }
}

/// Waits until there is something to read, at most for `patience`.
fn wait(fd: BorrowedFd<'_>, patience: Duration) {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let patience = Timespec {
        tv_sec: patience.as_secs().try_into().unwrap_or(0),
        tv_nsec: patience.subsec_nanos().into(),
    };
    // Whatever it says, the gamepad is read next.
    let _ = poll(&mut fds, Some(&patience));
}
