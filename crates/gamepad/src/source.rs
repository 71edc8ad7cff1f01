//! What a source of a gamepad's events gives, and what the sources share.

use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use arrayvec::ArrayVec;
use evdev::{AbsoluteAxisCode, EventType, InputEvent, SynchronizationCode};
use rustix::fs::{Mode, OFlags};

use super::axis::Range;
use super::capabilities::Capabilities;
use super::hand::{Input, Snapshot};
use super::mapping::{AxisName, Mapping};
use super::{BATCH, GamepadError};

/// A source of events. None of its functions waits.
pub(super) trait Source {
    /// A description in one line.
    fn describe(&self) -> String;

    /// The file descriptor to wait on.
    fn fd(&self) -> BorrowedFd<'_>;

    /// The device's capabilities; `None` if they cannot be queried.
    fn capabilities(&self) -> Option<&Capabilities>;

    /// The range of an axis.
    fn range(&self, axis: AxisName) -> Range;

    /// Appends pending inputs to `batch`; appends nothing if there are no more.
    fn read(&mut self, batch: &mut ArrayVec<Input, BATCH>) -> io::Result<()>;

    /// The current state of the gamepad; `None` if it cannot be queried.
    fn state(&mut self, mapping: &Mapping) -> io::Result<Option<Snapshot>>;

    /// The current positions of all axes; empty if they cannot be queried.
    fn values(&mut self) -> io::Result<Vec<(AxisName, i32)>>;
}

/// A source that can be moved to another thread.
pub(super) type AnySource = Box<dyn Source + Send>;

pub(super) fn failed(path: &Path, reason: io::Error) -> GamepadError {
    let fix = match reason.kind() {
        ErrorKind::NotFound => "plug it in or pair it (`bluetoothctl`); `ls /dev/input/by-id`",
        ErrorKind::PermissionDenied => {
            "`sudo usermod -aG input $USER`, then log in again; the service has the group"
        }
        _ => "it must be an event device, such as /dev/input/event3 or a link to one",
    };
    GamepadError::Open {
        path: path.to_owned(),
        reason,
        fix,
    }
}

pub(super) fn open_file(path: &Path) -> Result<OwnedFd, GamepadError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|reason| failed(path, reason.into()))
}

/// The input of a record of the kernel.
pub(super) fn input(event: InputEvent) -> Input {
    let (code, value) = (event.code(), event.value());
    match event.event_type() {
        EventType::SYNCHRONIZATION => match SynchronizationCode(code) {
            SynchronizationCode::SYN_REPORT => Input::Report,
            SynchronizationCode::SYN_DROPPED => Input::Dropped,
            _ => Input::Other,
        },
        EventType::KEY => Input::Button {
            code,
            pressed: value != 0,
        },
        EventType::ABSOLUTE if usize::from(code) < AXES => Input::Axis { code, value },
        _ => Input::Other,
    }
}

/// More than the number of the kernel's axes.
const AXES: usize = AbsoluteAxisCode::ABS_MT_TOOL_Y.0 as usize + 1;
