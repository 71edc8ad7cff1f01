//! Sources of a gamepad's events: an event device of the kernel, or a pipe.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use arrayvec::ArrayVec;
use evdev::raw_stream::RawDevice;
use evdev::{AbsoluteAxisCode, EventType, InputEvent, SynchronizationCode};
use rustix::fs::{Mode, OFlags};

use super::axis::Range;
use super::config::{AxisName, Button, GamepadConfig, Mapping};
use super::event_device::EventDevice;
use super::hand::{Input, Snapshot};
use super::records::Records;
use super::{BATCH, GamepadError};

/// The folder of event devices.
const FOLDER: &str = "/dev/input";

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

/// Opens the gamepad that `config` describes; returns its mapping, too.
pub(super) fn open(config: &GamepadConfig) -> Result<(AnySource, Mapping), GamepadError> {
    let Some(path) = &config.device else {
        let found = find(
            |capabilities| config.mapping_of(capabilities).lacks(config, capabilities),
            || config.wanted(),
        )?;
        let mapping = config.mapping_of(found.known());
        return Ok((Box::new(found), mapping));
    };
    if is_pipe(path)? {
        let mapping = config.mapping.unwrap_or_default();
        return Ok((Box::new(Records::open(path)?), mapping));
    }
    let device = EventDevice::new(path.clone(), event_device(path)?)?;
    let mapping = config.mapping_of(device.known());
    match mapping.lacks(config, device.known()) {
        None => Ok((Box::new(device), mapping)),
        Some(lacks) => Err(GamepadError::Lacks {
            path: path.clone(),
            name: device.known().called().to_owned(),
            lacks,
        }),
    }
}

/// Opens the device at `path`, or the first that looks like a gamepad, whatever its mapping.
pub(super) fn open_any(path: Option<&Path>, name: Option<&str>) -> Result<AnySource, GamepadError> {
    let Some(path) = path else {
        let lacks = |capabilities: &Capabilities| {
            let fits = capabilities.looks_like_a_gamepad()
                && name.is_none_or(|name| capabilities.is_called(name));
            (!fits).then(String::new)
        };
        let wanted = || match name {
            Some(name) => format!("sticks and buttons, `{name}` in its name"),
            None => "sticks and buttons".to_owned(),
        };
        return Ok(Box::new(find(lacks, wanted)?));
    };
    if is_pipe(path)? {
        return Ok(Box::new(Records::open(path)?));
    }
    let device = EventDevice::new(path.to_owned(), event_device(path)?)?;
    Ok(Box::new(device))
}

fn is_pipe(path: &Path) -> Result<bool, GamepadError> {
    let file = fs::metadata(path).map_err(|reason| failed(path, reason))?;
    Ok(file.file_type().is_fifo())
}

/// Searches for the first device, in the order of their numbers, that lacks nothing.
fn find(
    lacks: impl Fn(&Capabilities) -> Option<String>,
    wanted: impl Fn() -> String,
) -> Result<EventDevice, GamepadError> {
    let mut numbers: Vec<u32> = fs::read_dir(FOLDER)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_prefix("event")?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    let mut seen = 0;
    let mut hidden = 0;
    for number in numbers {
        let path = PathBuf::from(format!("{FOLDER}/event{number}"));
        match event_device(&path) {
            Ok(device) => {
                seen += 1;
                if lacks(&Capabilities::of(&device)).is_none() {
                    return EventDevice::new(path, device);
                }
            }
            Err(GamepadError::Open { reason, .. })
                if reason.kind() == ErrorKind::PermissionDenied =>
            {
                hidden += 1;
            }
            // Unplugged in the meantime.
            Err(_) => {}
        }
    }
    Err(GamepadError::None {
        seen,
        wanted: wanted(),
        hidden: match hidden {
            0 => String::new(),
            hidden => format!(
                "; {hidden} more may not be read by this user: `sudo usermod -aG input $USER`, \
                 then log in again"
            ),
        },
    })
}

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

fn event_device(path: &Path) -> Result<RawDevice, GamepadError> {
    RawDevice::from_fd(open_file(path)?).map_err(|reason| failed(path, reason))
}

/// What an event device has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Its name.
    pub name: String,
    /// Its vendor ID, from its bus.
    pub vendor: u16,
    /// Its product ID.
    pub product: u16,
    /// The codes of its axes.
    pub axes: Vec<u16>,
    /// The codes of its buttons.
    pub buttons: Vec<u16>,
}

/// BTN_TRIGGER to BTN_THUMBR: the buttons of joysticks and gamepads.
const PAD_BUTTONS: std::ops::RangeInclusive<u16> = 0x120..=0x13e;

impl Capabilities {
    pub(super) fn of(device: &RawDevice) -> Self {
        let axes = device.supported_absolute_axes();
        let buttons = device.supported_keys();
        let id = device.input_id();
        Self {
            name: device.name().unwrap_or("").to_owned(),
            vendor: id.vendor(),
            product: id.product(),
            axes: axes.map_or_else(Vec::new, |axes| axes.iter().map(|axis| axis.0).collect()),
            buttons: buttons.map_or_else(Vec::new, |keys| keys.iter().map(|key| key.0).collect()),
        }
    }

    /// Its name, or that it has none.
    pub fn called(&self) -> &str {
        match self.name.as_str() {
            "" => "a gamepad without a name",
            name => name,
        }
    }

    /// Whether its name contains `part`, ignoring case.
    pub fn is_called(&self, part: &str) -> bool {
        self.name.to_lowercase().contains(&part.to_lowercase())
    }

    /// Whether it has an axis.
    pub fn has_axis(&self, axis: AxisName) -> bool {
        self.axes.contains(&axis.0)
    }

    /// Whether it has a button.
    pub fn has_button(&self, button: Button) -> bool {
        self.buttons.contains(&button.0)
    }

    /// Whether it has sticks, and buttons that no mouse, touchpad or sensor has.
    pub fn looks_like_a_gamepad(&self) -> bool {
        self.has_axis(AxisName(AbsoluteAxisCode::ABS_X.0))
            && self.has_axis(AxisName(AbsoluteAxisCode::ABS_Y.0))
            && self.buttons.iter().any(|code| PAD_BUTTONS.contains(code))
    }
}

impl Mapping {
    /// Whether a device with `capabilities` has everything that is needed.
    pub(super) fn has_all(&self, capabilities: &Capabilities) -> bool {
        let mut axes = self.axes().into_iter();
        let mut buttons = self.buttons().into_iter();
        axes.all(|axis| capabilities.has_axis(axis))
            && buttons.all(|button| capabilities.has_button(button))
    }

    /// What this mapping and `config` require and a device with `capabilities` lacks.
    pub fn lacks(&self, config: &GamepadConfig, capabilities: &Capabilities) -> Option<String> {
        let axes = self.axes().into_iter();
        let axes = axes.filter(|axis| !capabilities.has_axis(*axis));
        let buttons = self.buttons().into_iter();
        let buttons = buttons.filter(|button| !capabilities.has_button(*button));
        let mut lacks: Vec<String> = axes.map(|axis| axis.to_string()).collect();
        lacks.extend(buttons.map(|button| button.to_string()));
        if let Some(name) = &config.name
            && !capabilities.is_called(name)
        {
            lacks.push(format!("`{name}` in its name"));
        }
        (!lacks.is_empty()).then(|| lacks.join(", "))
    }
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
