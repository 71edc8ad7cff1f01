//! A gamepad that is an event device of the kernel.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use arrayvec::ArrayVec;
use evdev::raw_stream::RawDevice;
use evdev::{AbsInfo, AbsoluteAxisCode, KeyCode};

use super::axis::Range;
use super::capabilities::Capabilities;
use super::hand::{Input, Snapshot};
use super::mapping::{AxisName, Mapping};
use super::source::{Source, input};
use super::{BATCH, GamepadError, known};

/// An event device of the kernel.
pub(super) struct EventDevice {
    path: PathBuf,
    device: RawDevice,
    capabilities: Capabilities,
    /// The range of each of its axes.
    ranges: Vec<(AxisName, Range)>,
}

impl EventDevice {
    pub(super) fn new(path: PathBuf, device: RawDevice) -> Result<Self, GamepadError> {
        let capabilities = Capabilities::of(&device);
        let infos = device.get_absinfo().map_err(GamepadError::Gone)?;
        let ranges = ranges(infos);
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
        range(&self.ranges, axis)
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

/// The range of each axis, from the kernel (EVIOCGABS).
fn ranges(infos: impl Iterator<Item = (AbsoluteAxisCode, AbsInfo)>) -> Vec<(AxisName, Range)> {
    let range = |(axis, info): (AbsoluteAxisCode, AbsInfo)| {
        let range = Range {
            least: info.minimum(),
            most: info.maximum(),
            flat: info.flat(),
        };
        (AxisName(axis.0), range)
    };
    infos.map(range).collect()
}

/// The range of `axis`. A missing axis has an empty range, and drives nothing.
fn range(ranges: &[(AxisName, Range)], axis: AxisName) -> Range {
    let found = ranges.iter().find(|(name, _)| *name == axis);
    let none = Range {
        least: 0,
        most: 0,
        flat: 0,
    };
    found.map_or(none, |(_, range)| *range)
}

/// If the batch is full, the input is lost, and the last entry becomes [`Input::Dropped`].
fn put(batch: &mut ArrayVec<Input, BATCH>, input: Input) {
    if batch.try_push(input).is_err() {
        batch[BATCH - 1] = Input::Dropped;
    }
}

#[cfg(test)]
mod tests {
    use evdev::{EventType, InputEvent};

    use super::*;

    /// The axes of a DualShock 4 under hid-playstation, and a stick with a flat.
    #[test]
    fn each_axis_has_its_own_range() {
        let infos = [
            (AbsoluteAxisCode::ABS_X, AbsInfo::new(127, 0, 255, 1, 15, 0)),
            (
                AbsoluteAxisCode::ABS_RY,
                AbsInfo::new(0, -32768, 32767, 16, 128, 0),
            ),
        ];
        let ranges = ranges(infos.into_iter());
        for (axis, [least, most, flat]) in [
            (AbsoluteAxisCode::ABS_X, [0, 255, 15]),
            (AbsoluteAxisCode::ABS_RY, [-32768, 32767, 128]),
            (AbsoluteAxisCode::ABS_Z, [0, 0, 0]),
        ] {
            let expected = Range { least, most, flat };
            assert_eq!(range(&ranges, AxisName(axis.0)), expected);
        }
    }

    #[test]
    fn the_kernels_events_are_inputs() {
        let read = |kind: EventType, code, value| input(InputEvent::new(kind.0, code, value));
        let button = |pressed| Input::Button {
            code: 0x130,
            pressed,
        };
        assert_eq!(read(EventType::SYNCHRONIZATION, 0, 0), Input::Report);
        assert_eq!(read(EventType::SYNCHRONIZATION, 3, 0), Input::Dropped);
        assert_eq!(read(EventType::SYNCHRONIZATION, 1, 0), Input::Other);
        for (value, pressed) in [(0, false), (1, true), (2, true)] {
            assert_eq!(read(EventType::KEY, 0x130, value), button(pressed));
        }
        let (code, value) = (4, -7);
        assert_eq!(
            read(EventType::ABSOLUTE, 4, -7),
            Input::Axis { code, value }
        );
        assert_eq!(read(EventType::ABSOLUTE, 0xffff, 1), Input::Other);
        assert_eq!(read(EventType::MISC, 4, 1), Input::Other);
    }

    #[test]
    fn inputs_beyond_a_batch_are_reported_as_dropped() {
        let mut batch = ArrayVec::new();
        for _ in 0..BATCH {
            put(&mut batch, Input::Report);
        }
        assert!(batch.iter().all(|input| *input == Input::Report));
        put(&mut batch, Input::Other);
        assert_eq!((batch.len(), batch.last()), (BATCH, Some(&Input::Dropped)));
    }
}
