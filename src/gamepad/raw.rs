//! A gamepad as it is, whatever its axes and buttons are for.

use std::path::Path;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::source::{self, AnySource};
use super::{AxisName, BATCH, Capabilities, GamepadError, Input, MOST_BATCHES, Range, wait};

/// A gamepad of which every axis and button is read.
pub struct RawPad {
    source: AnySource,
    batch: ArrayVec<Input, BATCH>,
}

impl RawPad {
    /// Opens the device at `path`, or the first one that looks like a gamepad, `name` in its
    /// name where that is given.
    ///
    /// # Errors
    /// When there is none, or it may not be read.
    pub fn open(path: Option<&Path>, name: Option<&str>) -> Result<Self, GamepadError> {
        Ok(Self {
            source: source::open_any(path, name)?,
            batch: ArrayVec::new(),
        })
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        self.source.describe()
    }

    /// What it has; none where no one can be asked.
    pub fn capabilities(&self) -> Option<&Capabilities> {
        self.source.capabilities()
    }

    /// What an axis can report.
    pub fn range(&self, axis: AxisName) -> Range {
        self.source.range(axis)
    }

    /// Where its axes are; empty where no one can be asked.
    ///
    /// # Errors
    /// When it is gone.
    pub fn values(&mut self) -> Result<Vec<(AxisName, i32)>, GamepadError> {
        self.source.values().map_err(GamepadError::Gone)
    }

    /// Waits until it reports something, at most for `patience`.
    pub fn wait(&self, patience: Duration) {
        wait(self.source.fd(), patience);
    }

    /// Reads what it has reported, and never waits. False when more may be there.
    ///
    /// # Errors
    /// When it is gone.
    pub fn read(&mut self, mut take: impl FnMut(Input)) -> Result<bool, GamepadError> {
        for _ in 0..MOST_BATCHES {
            self.source
                .read(&mut self.batch)
                .map_err(GamepadError::Gone)?;
            if self.batch.is_empty() {
                return Ok(true);
            }
            self.batch.drain(..).for_each(&mut take);
        }
        Ok(false)
    }
}
