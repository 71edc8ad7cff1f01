//! A gamepad of the kernel's.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use arrayvec::ArrayVec;
use evdev::KeyCode;
use evdev::raw_stream::RawDevice;

use super::axis::Range;
use super::config::{AxisName, Mapping};
use super::hand::{Input, Snapshot};
use super::source::{Capabilities, Source, input};
use super::{BATCH, GamepadError, known};

/// An event device of the kernel's.
pub(super) struct EventDevice {
    path: PathBuf,
    device: RawDevice,
    capabilities: Capabilities,
    /// Of each axis that it has.
    ranges: Vec<(AxisName, Range)>,
}

impl EventDevice {
    pub(super) fn new(path: PathBuf, device: RawDevice) -> Result<Self, GamepadError> {
        let capabilities = Capabilities::of(&device);
        let all = device.get_abs_state().map_err(GamepadError::Gone)?;
        let ranges = capabilities.axes.iter().filter_map(|&axis| {
            let info = all.get(usize::from(axis))?;
            let range = Range {
                least: info.minimum,
                most: info.maximum,
                flat: info.flat,
            };
            Some((AxisName(axis), range))
        });
        let ranges = ranges.collect();
        Ok(Self {
            path,
            device,
            capabilities,
            ranges,
        })
    }

    pub(super) const fn known(&self) -> &Capabilities {
        &self.capabilities
    }
}

impl Source for EventDevice {
    fn describe(&self) -> String {
        let (name, path) = (self.capabilities.called(), self.path.display());
        match known::find(&self.capabilities) {
            Some(pad) => format!("{name} at {path} ({})", pad.name),
            None => format!("{name} at {path}"),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    fn capabilities(&self) -> Option<&Capabilities> {
        Some(&self.capabilities)
    }

    fn range(&self, axis: AxisName) -> Range {
        let range = self.ranges.iter().find(|(name, _)| *name == axis);
        // An axis without a range drives nothing.
        range.map_or(
            Range {
                least: 0,
                most: 0,
                flat: 0,
            },
            |(_, range)| *range,
        )
    }

    fn read(&mut self, batch: &mut ArrayVec<Input, BATCH>) -> io::Result<()> {
        match self.device.fetch_events() {
            Ok(events) => {
                for event in events {
                    put(batch, input(event));
                }
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn state(&mut self, mapping: &Mapping) -> io::Result<Option<Snapshot>> {
        let keys = self.device.get_key_state()?;
        let axes = self.device.get_abs_state()?;
        let value = |axis: AxisName| Some(axes.get(usize::from(axis.0))?.value);
        let [steering, throttle] = mapping.axes();
        let [dead_man, arm, stop] = mapping.buttons().map(|button| KeyCode(button.0));
        Ok(Some(Snapshot {
            steering: value(steering),
            throttle: value(throttle),
            dead_man: keys.contains(dead_man),
            arm: keys.contains(arm),
            stop: keys.contains(stop),
        }))
    }

    fn values(&mut self) -> io::Result<Vec<(AxisName, i32)>> {
        let axes = self.device.get_abs_state()?;
        let value = |axis: AxisName| Some((axis, axes.get(usize::from(axis.0))?.value));
        let names = self.ranges.iter().map(|(axis, _)| *axis);
        Ok(names.filter_map(value).collect())
    }
}

/// A batch that is full has lost what comes next.
fn put(batch: &mut ArrayVec<Input, BATCH>, input: Input) {
    if batch.try_push(input).is_err() {
        batch[BATCH - 1] = Input::Dropped;
    }
}
