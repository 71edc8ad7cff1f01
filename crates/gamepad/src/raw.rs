//! A gamepad without a mapping.

use std::path::Path;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::devices;
use super::source::AnySource;
use super::{AxisName, BATCH, Capabilities, GamepadError, Input, MOST_BATCHES, Range, wait};

/// A gamepad of which every axis and button is read.
pub struct RawPad {
    source: AnySource,
    batch: ArrayVec<Input, BATCH>,
}

impl RawPad {
    /// Opens the device at `path`, or the first one that looks like a gamepad; with `name`, the
    /// first whose name contains it.
    ///
    /// # Errors
    /// Fails if there is none, or if it may not be read.
    pub fn open(path: Option<&Path>, name: Option<&str>) -> Result<Self, GamepadError> {
        Ok(Self {
            source: devices::open_any(path, name)?,
            batch: ArrayVec::new(),
        })
    }

    /// A description in one line.
    pub fn describe(&self) -> String {
        self.source.describe()
    }

    /// The device's capabilities; `None` if they cannot be queried.
    pub fn capabilities(&self) -> Option<&Capabilities> {
        self.source.capabilities()
    }

    /// The range of an axis.
    pub fn range(&self, axis: AxisName) -> Range {
        self.source.range(axis)
    }

    /// The positions of its axes; empty if they cannot be queried.
    ///
    /// # Errors
    /// Fails if the gamepad is gone.
    pub fn values(&mut self) -> Result<Vec<(AxisName, i32)>, GamepadError> {
        self.source.values().map_err(GamepadError::Gone)
    }

    /// Waits until the gamepad reports something, at most for `patience`.
    pub fn wait(&self, patience: Duration) {
        wait(self.source.fd(), patience);
    }

    /// Reads pending reports without waiting. Returns false if there may be more.
    ///
    /// # Errors
    /// Fails if the gamepad is gone.
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
