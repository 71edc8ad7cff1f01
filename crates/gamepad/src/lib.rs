//! An operator's gamepad: the kernel's event device, and the meaning of its sticks and buttons.
//!
//! [`Gamepad`] reads a gamepad, and [`Hand`] converts its reports to the operator's request.
//! [`RawPad`] reads a gamepad whose mapping is not known yet, and [`Lesson`] learns the mapping.

mod axis;
mod capabilities;
mod config;
mod devices;
mod event_device;
mod hand;
pub mod known;
mod lesson;
mod mapping;
mod notice;
mod page;
mod raw;
mod records;
mod source;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use arrayvec::ArrayVec;
use pilotage_guard_policy::Limits;
use pilotage_vehicle::Time;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub use axis::{Misplaced, Range};
pub use capabilities::Capabilities;
pub use config::GamepadConfig;
pub use hand::{DriveRequest, Hand, Input, Presses, Snapshot};
pub use lesson::{Lesson, Question, Step};
pub use mapping::{Axis, AxisName, Button, Mapping, Rest, UnknownName};
pub use notice::{Notice, Role};
pub use page::PageState;
pub use raw::RawPad;

use source::AnySource;

/// The number of inputs that are read at once.
const BATCH: usize = 64;
/// The largest number of batches per iteration: an operator's hand does not produce more. The rest
/// waits for the next iteration.
const MOST_BATCHES: usize = 16;

/// Why there is no gamepad, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum GamepadError {
    /// The device cannot be opened.
    #[error("{path}: the gamepad cannot be opened ({reason}): {fix}")]
    Open {
        /// The device node.
        path: PathBuf,
        /// The system's error.
        reason: std::io::Error,
        /// How to fix it.
        fix: &'static str,
    },
    /// The device lacks an axis or a button that car.toml requires.
    #[error(
        "{path} ({name}) has no {lacks}: name what it has in car.toml's [gamepad]; `pilotage \
         gamepad --device {path}` shows it"
    )]
    Lacks {
        /// The device node.
        path: PathBuf,
        /// The device's name.
        name: String,
        /// The missing axes and buttons.
        lacks: String,
    },
    /// No device fits.
    #[error(
        "no gamepad: none of the {seen} event devices in /dev/input that may be read here has what \
         [gamepad] asks for ({wanted}); plug it in or pair it (`bluetoothctl`){hidden}"
    )]
    None {
        /// How many devices were examined.
        seen: usize,
        /// What a gamepad must have.
        wanted: String,
        /// The devices that may not be read.
        hidden: String,
    },
    /// The gamepad was unplugged, or fails.
    #[error("the gamepad is gone: {0}")]
    Gone(std::io::Error),
}

/// An open gamepad.
pub struct Gamepad {
    source: AnySource,
    mapping: Mapping,
    batch: ArrayVec<Input, BATCH>,
    hand: Hand,
}

impl Gamepad {
    /// Opens the gamepad that `config` describes, for a car with `limits`.
    ///
    /// # Errors
    /// Fails if the gamepad does not exist, may not be read, or lacks an axis or a button.
    pub fn open(config: &GamepadConfig, limits: &Limits) -> Result<Self, GamepadError> {
        let (source, mapping) = devices::open(config)?;
        Ok(Self::over(source, mapping, config, limits))
    }

    fn over(source: AnySource, mapping: Mapping, config: &GamepadConfig, limits: &Limits) -> Self {
        let ranges = mapping.axes().map(|axis| source.range(axis));
        Self {
            hand: Hand::new(config, &mapping, ranges, limits),
            source,
            mapping,
            batch: ArrayVec::new(),
        }
    }

    /// A description in one line.
    pub fn describe(&self) -> String {
        self.source.describe()
    }

    /// The mapping of its axes and buttons.
    pub const fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Waits until the gamepad reports something, at most for `patience`.
    pub fn wait(&self, patience: Duration) {
        wait(self.source.fd(), patience);
    }

    /// Reads all pending reports as of `now`, without waiting. Returns whether all were read, so
    /// that the known state is the current state.
    ///
    /// # Errors
    /// Fails if the gamepad is gone.
    pub fn read(&mut self, now: Time) -> Result<bool, GamepadError> {
        self.query_state(now)?;
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
                    // Pending reports are older than the state that is queried now.
                    self.query_state(now)?;
                    if self.hand.is_known() {
                        break;
                    }
                }
            }
            self.batch.clear();
        }
        Ok(false)
    }

    /// The interpretation of its sticks and buttons.
    pub const fn hand(&mut self) -> &mut Hand {
        &mut self.hand
    }

    /// Queries the gamepad's state after it was opened, and after the kernel dropped events.
    fn query_state(&mut self, now: Time) -> Result<(), GamepadError> {
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
    // The gamepad is read next, whatever the result of `poll`.
    let _ = poll(&mut fds, Some(&patience));
}
