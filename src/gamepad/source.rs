//! Where a gamepad's events come from: an event device of the kernel's, or a pipe.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use arrayvec::ArrayVec;
use evdev::raw_stream::RawDevice;
use evdev::{AbsoluteAxisCode, EventType, InputEvent, KeyCode, SynchronizationCode};
use rustix::fs::{Mode, OFlags};

use super::config::GamepadConfig;
use super::hand::{Input, Range, Snapshot};
use super::{BATCH, GamepadError};

/// Where event devices are.
const FOLDER: &str = "/dev/input";

/// Where events come from. Nothing of it waits.
pub(super) trait Source {
    /// One line for people.
    fn describe(&self) -> String;

    /// What to wait on.
    fn fd(&self) -> BorrowedFd<'_>;

    /// What steering and throttle axes can say.
    fn ranges(&self) -> [Range; 2];

    /// Adds what there is to `batch`; nothing when there is nothing more.
    fn read(&mut self, batch: &mut ArrayVec<Input, BATCH>) -> io::Result<()>;

    /// How the gamepad is now; none where nobody can be asked.
    fn state(&mut self) -> io::Result<Option<Snapshot>>;
}

/// The gamepad that `config` describes.
pub(super) fn open(config: &GamepadConfig) -> Result<Box<dyn Source + Send>, GamepadError> {
    let Some(path) = &config.device else {
        return Ok(Box::new(find(config)?));
    };
    let file = fs::metadata(path).map_err(|reason| failed(path, reason))?;
    if file.file_type().is_fifo() {
        return Ok(Box::new(Records::open(path)?));
    }
    let device = event_device(path)?;
    match Capabilities::of(&device).lacks(config) {
        None => Ok(Box::new(Evdev::new(path.clone(), device, config)?)),
        Some(lacks) => Err(GamepadError::Lacks {
            path: path.clone(),
            name: device.name().unwrap_or("no name").to_owned(),
            lacks,
        }),
    }
}

/// Looks for one that fits, in the order of their numbers.
fn find(config: &GamepadConfig) -> Result<Evdev, GamepadError> {
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
                if Capabilities::of(&device).lacks(config).is_none() {
                    return Evdev::new(path, device, config);
                }
            }
            Err(GamepadError::Open { reason, .. })
                if reason.kind() == ErrorKind::PermissionDenied =>
            {
                hidden += 1;
            }
            // Unplugged meanwhile.
            Err(_) => {}
        }
    }
    Err(GamepadError::None {
        seen,
        wanted: config.wanted(),
        hidden: match hidden {
            0 => String::new(),
            hidden => format!(
                "; {hidden} more may not be read by this user: `sudo usermod -aG input $USER`, \
                 then log in again"
            ),
        },
    })
}

fn failed(path: &Path, reason: io::Error) -> GamepadError {
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

fn open_file(path: &Path) -> Result<OwnedFd, GamepadError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|reason| failed(path, reason.into()))
}

fn event_device(path: &Path) -> Result<RawDevice, GamepadError> {
    RawDevice::from_fd(open_file(path)?).map_err(|reason| failed(path, reason))
}

/// What an event device has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// What it calls itself.
    pub name: String,
    /// The numbers of its axes.
    pub axes: Vec<u16>,
    /// The numbers of its buttons.
    pub buttons: Vec<u16>,
}

impl Capabilities {
    fn of(device: &RawDevice) -> Self {
        let axes = device.supported_absolute_axes();
        let buttons = device.supported_keys();
        Self {
            name: device.name().unwrap_or("").to_owned(),
            axes: axes.map_or_else(Vec::new, |axes| axes.iter().map(|axis| axis.0).collect()),
            buttons: buttons.map_or_else(Vec::new, |keys| keys.iter().map(|key| key.0).collect()),
        }
    }

    /// What it has not of what `config` asks for.
    pub fn lacks(&self, config: &GamepadConfig) -> Option<String> {
        let axes = config.axes().into_iter();
        let axes = axes.filter(|axis| !self.axes.contains(&axis.0));
        let buttons = config.buttons().into_iter();
        let buttons = buttons.filter(|button| !self.buttons.contains(&button.0));
        let mut lacks: Vec<String> = axes.map(|axis| axis.to_string()).collect();
        lacks.extend(buttons.map(|button| button.to_string()));
        if let Some(name) = &config.name
            && !self.name.to_lowercase().contains(&name.to_lowercase())
        {
            lacks.push(format!("`{name}` in its name"));
        }
        (!lacks.is_empty()).then(|| lacks.join(", "))
    }
}

/// An event device of the kernel's.
struct Evdev {
    path: PathBuf,
    device: RawDevice,
    config: GamepadConfig,
    ranges: [Range; 2],
}

impl Evdev {
    fn new(path: PathBuf, device: RawDevice, config: &GamepadConfig) -> Result<Self, GamepadError> {
        let all = device.get_abs_state().map_err(GamepadError::Gone)?;
        let ranges = config.axes().map(|axis| {
            let info = all[usize::from(axis.0)];
            Range {
                least: info.minimum,
                most: info.maximum,
            }
        });
        Ok(Self {
            path,
            device,
            config: config.clone(),
            ranges,
        })
    }
}

impl Source for Evdev {
    fn describe(&self) -> String {
        let name = self.device.name().unwrap_or("a gamepad without a name");
        format!("{name} at {}", self.path.display())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    fn ranges(&self) -> [Range; 2] {
        self.ranges
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

    fn state(&mut self) -> io::Result<Option<Snapshot>> {
        let keys = self.device.get_key_state()?;
        let axes = self.device.get_abs_state()?;
        let [steering, throttle] = self.config.axes();
        let [dead_man, arm, stop] = self.config.buttons().map(|button| KeyCode(button.0));
        Ok(Some(Snapshot {
            steering: Some(axes[usize::from(steering.0)].value),
            throttle: Some(axes[usize::from(throttle.0)].value),
            dead_man: keys.contains(dead_man),
            arm: keys.contains(arm),
            stop: keys.contains(stop),
        }))
    }
}

/// A batch that is full has lost what comes next.
fn put(batch: &mut ArrayVec<Input, BATCH>, input: Input) {
    if batch.try_push(input).is_err() {
        batch[BATCH - 1] = Input::Dropped;
    }
}

fn input(event: InputEvent) -> Input {
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

/// More axes than the kernel's have.
const AXES: usize = AbsoluteAxisCode::ABS_MT_TOOL_Y.0 as usize + 1;

/// A pipe in which the kernel's records (`struct input_event`) stand: a stand-in for a
/// gamepad, where there is none. Sticks say -32768 to 32767. There is nobody to ask how it
/// is: its first report says so, and so does the second after SYN_DROPPED. When the last
/// writer closes the pipe, the gamepad is gone.
struct Records {
    path: PathBuf,
    pipe: OwnedFd,
    /// A record that has come in part.
    part: ArrayVec<u8, RECORD>,
}

/// Bytes of a `struct input_event` where time has 64 bits: seconds, microseconds, type, code,
/// value.
const RECORD: usize = 24;

impl Records {
    fn open(path: &Path) -> Result<Self, GamepadError> {
        let mut records = Self {
            path: path.to_owned(),
            pipe: open_file(path)?,
            part: ArrayVec::new(),
        };
        // One that nobody writes to is at its end.
        let mut first = [0; RECORD];
        match rustix::io::read(&records.pipe, &mut first) {
            Ok(0) => Err(failed(path, ErrorKind::NotFound.into())),
            Ok(read) => {
                records.part.extend(first[..read].iter().copied());
                Ok(records)
            }
            Err(rustix::io::Errno::AGAIN) => Ok(records),
            Err(reason) => Err(failed(path, reason.into())),
        }
    }

    fn whole(&self) -> Option<Input> {
        let record: &[u8; RECORD] = self.part.as_slice().try_into().ok()?;
        let two = |at: usize| u16::from_ne_bytes([record[at], record[at + 1]]);
        let value = [record[20], record[21], record[22], record[23]];
        let event = InputEvent::new(two(16), two(18), i32::from_ne_bytes(value));
        Some(input(event))
    }
}

impl Source for Records {
    fn describe(&self) -> String {
        format!("records in {}", self.path.display())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    fn ranges(&self) -> [Range; 2] {
        let (least, most) = (i16::MIN.into(), i16::MAX.into());
        [Range { least, most }; 2]
    }

    fn read(&mut self, batch: &mut ArrayVec<Input, BATCH>) -> io::Result<()> {
        while !batch.is_full() {
            if let Some(input) = self.whole() {
                batch.push(input);
                self.part.clear();
                continue;
            }
            let mut bytes = [0; RECORD];
            let wanted = RECORD - self.part.len();
            match rustix::io::read(&self.pipe, &mut bytes[..wanted]) {
                Ok(0) => {
                    let what = "its pipe is closed";
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, what));
                }
                Ok(read) => self.part.extend(bytes[..read].iter().copied()),
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(reason) => return Err(reason.into()),
            }
        }
        Ok(())
    }

    fn state(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(None)
    }
}
