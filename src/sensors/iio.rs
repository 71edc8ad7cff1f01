//! Channels of Linux's Industrial I/O (IIO) devices, read through sysfs. Source of the files' names and
//! units: the kernel's Documentation/ABI/testing/sysfs-bus-iio.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where the kernel lists its IIO devices.
pub const DEVICES: &str = "/sys/bus/iio/devices";

/// The longest text of a channel's value.
const LONGEST_VALUE: usize = 32;
/// The longest name of a device.
const LONGEST_TEXT: u64 = 128;

/// An IIO device or one of its channels cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IioError {
    /// There is no such device.
    #[error(
        "no IIO device is called `{name}` ({there}): check its wiring, load its kernel driver (`dmesg | \
         grep iio`), or correct the name in car.toml"
    )]
    NoDevice {
        /// The name in car.toml.
        name: String,
        /// The devices that there are, in words.
        there: String,
    },
    /// Several devices have the name.
    #[error("several IIO devices are called `{name}`: name one by its folder, such as {}", folder.display())]
    Ambiguous {
        /// The name in car.toml.
        name: String,
        /// The folder of the first.
        folder: PathBuf,
    },
    /// A file of the device cannot be read.
    #[error("{} cannot be read ({reason}): {hint}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// A file of the device has no number.
    #[error("{} contains no number: its kernel driver is not one of an IIO sensor", path.display())]
    NoNumber {
        /// The file.
        path: PathBuf,
    },
}

/// The folder of the device `name`: the text of its file `name` or `label`, the name of its folder
/// (`iio:device0`), or the path of its folder. `devices` is [`DEVICES`], or a folder like it.
///
/// # Errors
/// Fails unless there is exactly one.
pub fn device(devices: &Path, name: &str) -> Result<PathBuf, IioError> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let mut found: Vec<PathBuf> = Vec::new();
    let mut others: Vec<String> = Vec::new();
    for folder in folders(devices) {
        let text = |file: &str| {
            let text = small(&folder.join(file)).unwrap_or_default();
            String::from_utf8_lossy(&text).into_owned()
        };
        let (own, label) = (text("name"), text("label"));
        let is_named = folder.file_name().is_some_and(|file| file == name);
        if is_named || own.trim() == name || label.trim() == name {
            found.push(folder);
        } else {
            others.push(own.trim().to_owned());
        }
    }
    match found.as_slice() {
        [folder] => Ok(folder.clone()),
        [folder, ..] => Err(IioError::Ambiguous {
            name: name.to_owned(),
            folder: folder.clone(),
        }),
        [] => Err(IioError::NoDevice {
            name: name.to_owned(),
            there: match others.is_empty() {
                true => format!("{} has none", devices.display()),
                false => format!("there are: {}", others.join(", ")),
            },
        }),
    }
}

/// The folders of all devices, in the order of their names.
fn folders(devices: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(devices).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"iio:"))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders
}

/// A channel that stays open. A read neither allocates nor, with a working bus, takes much longer than
/// the transfer.
#[derive(Debug)]
pub struct Channel {
    raw: File,
    path: PathBuf,
    offset: f64,
    scale: f64,
}

impl Channel {
    /// Opens the channel `kind` of `axis` in a device's folder: `anglvel` (rad/s) or `accel` (m/s2), and
    /// `x`, `y` or `z`.
    ///
    /// # Errors
    /// Fails if the device does not have it.
    pub fn open(folder: &Path, kind: &str, axis: char) -> Result<Self, IioError> {
        let path = folder.join(format!("in_{kind}_{axis}_raw"));
        let raw = open(&path).map_err(|reason| unreadable(&path, reason))?;
        // One file for this axis, or one for all of them.
        let setting = |name: &str| {
            let own = folder.join(format!("in_{kind}_{axis}_{name}"));
            match own.exists() {
                true => own,
                false => folder.join(format!("in_{kind}_{name}")),
            }
        };
        let (offset, scale) = (setting("offset"), setting("scale"));
        Ok(Self {
            raw,
            path,
            offset: match offset.exists() {
                true => number(&offset)?,
                false => 0.0,
            },
            scale: number(&scale)?,
        })
    }

    /// The value in the channel's unit.
    ///
    /// # Errors
    /// Fails if the sensor does not answer.
    pub fn read(&self) -> Result<f64, IioError> {
        let mut text = [0; LONGEST_VALUE];
        let length = self.raw.read_at(&mut text, 0);
        let length = length.map_err(|reason| unreadable(&self.path, reason))?;
        // One that fills all of it may be cut off.
        let whole = text.get(..length).filter(|_| length < LONGEST_VALUE);
        let raw = whole.and_then(parse);
        let raw = raw.ok_or_else(|| IioError::NoNumber {
            path: self.path.clone(),
        })?;
        Ok((raw + self.offset) * self.scale)
    }
}

/// Opens a file; another kind, such as a pipe, could wait for ever.
fn open(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The start of a file, as much as the kernel's files have.
fn small(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    open(path)?.take(LONGEST_TEXT).read_to_end(&mut text)?;
    Ok(text)
}

fn number(path: &Path) -> Result<f64, IioError> {
    let text = small(path).map_err(|reason| unreadable(path, reason))?;
    parse(&text).ok_or_else(|| IioError::NoNumber {
        path: path.to_owned(),
    })
}

/// A finite number, with whitespace at its ends.
fn parse(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: f64 = text.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

fn unreadable(path: &Path, reason: io::Error) -> IioError {
    let hint = match reason.kind() {
        io::ErrorKind::NotFound => {
            "the device has no such channel, or is gone; name another one in car.toml, or check its wiring"
        }
        io::ErrorKind::PermissionDenied => "run as root, or let this user read it by a udev rule",
        io::ErrorKind::ResourceBusy => "another program reads the sensor through a buffer; end it",
        io::ErrorKind::InvalidInput => {
            "it is not a file of an IIO device; correct the name in car.toml"
        }
        _ => "check the sensor's power and wiring",
    };
    IioError::Unreadable {
        path: path.to_owned(),
        reason,
        hint,
    }
}
