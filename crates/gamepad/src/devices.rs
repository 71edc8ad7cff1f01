//! Finds and opens gamepads: event devices of the kernel, or a pipe in place of one.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use evdev::raw_stream::RawDevice;

use super::GamepadError;
use super::capabilities::Capabilities;
use super::config::GamepadConfig;
use super::event_device::EventDevice;
use super::mapping::Mapping;
use super::records::Records;
use super::source::{AnySource, failed, open_file};

/// The folder of event devices.
const FOLDER: &str = "/dev/input";

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

fn event_device(path: &Path) -> Result<RawDevice, GamepadError> {
    RawDevice::from_fd(open_file(path)?).map_err(|reason| failed(path, reason))
}
