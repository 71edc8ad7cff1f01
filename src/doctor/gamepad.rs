//! Event devices that can serve as the operator's gamepad.

use std::io::ErrorKind;
use std::path::Path;

use super::{Finding, Level, System};
use pilotage_gamepad::{Capabilities, GamepadConfig, known};

const PART: &str = "gamepad";
const FOLDER: &str = "/dev/input";

/// The gamepads that have what `wanted` requires, or the default mapping's axes and buttons if the
/// car has no gamepad.
pub(super) fn findings(system: &System, wanted: Option<&GamepadConfig>) -> Vec<Finding> {
    // What `[gamepad]` means without keys.
    let usual = GamepadConfig::default();
    let config = wanted.unwrap_or(&usual);
    if let Some(device) = &config.device {
        return vec![named(system, config, device)];
    }
    let nodes = system.names(FOLDER, "event");
    let fits = |node: &&String| lacks(system, config, node).is_none();
    let found: Vec<_> = nodes
        .iter()
        .filter(fits)
        .map(|node| opened(system, node, &format!("{FOLDER}/{node}")))
        .collect();
    if !found.is_empty() {
        return found;
    }
    let what = match nodes.len() {
        0 => "no event device (/dev/input/event*)".to_owned(),
        devices => format!("none of {devices} event device(s) has {}", config.wanted()),
    };
    let fix = "plug it in or pair it (`bluetoothctl`), to drive by hand; a kernel without its driver \
               (xpad on JetPack 6) does not show it: docs/hardware.md; where it has other axes and \
               buttons, `pilotage gamepad --learn --car FILE` names them in car.toml's [gamepad]";
    // An engine drives without a gamepad.
    vec![match wanted {
        Some(_) => Finding::wrong(PART, Level::Warning, what, fix),
        None => Finding::missing(PART, false, what, fix),
    }]
}

/// The gamepad that car.toml names.
fn named(system: &System, config: &GamepadConfig, device: &Path) -> Finding {
    let path = device.display().to_string();
    let node = system.target(&path);
    let Some(node) = node else {
        let fix =
            "plug it in or pair it (`bluetoothctl`); `ls /dev/input/by-id` shows what is there";
        return Finding::wrong(PART, Level::Warning, format!("{path} is not there"), fix);
    };
    if !node.starts_with("event") {
        let fix = "name an event device in car.toml's [gamepad]: those in /dev/input/by-id that \
                   end in -event-joystick";
        let found = format!("{path} is no event device");
        return Finding::wrong(PART, Level::Warning, found, fix);
    }
    match lacks(system, config, &node) {
        None => opened(system, &node, &path),
        Some(lacks) => Finding::wrong(
            PART,
            Level::Warning,
            format!("{path} has no {lacks}"),
            format!(
                "name what it has in car.toml's [gamepad]: `pilotage gamepad --device {path}` \
                 shows it, and with --learn writes it"
            ),
        ),
    }
}

fn opened(system: &System, node: &str, path: &str) -> Finding {
    let capabilities = capabilities(system, node);
    let name = &capabilities.name;
    let mut found = match name.is_empty() {
        true => path.to_owned(),
        false => format!("{path}: {name}"),
    };
    if let Some(pad) = known::find(&capabilities) {
        found += &format!(" ({})", pad.name);
    }
    let Err(error) = system.try_read(path) else {
        return Finding::fine(PART, found);
    };
    let fix = match error.kind() {
        ErrorKind::PermissionDenied => {
            "sudo usermod -aG input $USER, then log in again; the services have their own groups"
        }
        _ => "see `dmesg`",
    };
    Finding::wrong(PART, Level::Warning, format!("{found} ({error})"), fix)
}

/// What `config` requires and the device lacks.
fn lacks(system: &System, config: &GamepadConfig, node: &str) -> Option<String> {
    let capabilities = capabilities(system, node);
    let mapping = config.mapping_of(&capabilities);
    mapping.lacks(config, &capabilities)
}

/// The capabilities from sysfs, which needs no permission to open the device.
fn capabilities(system: &System, node: &str) -> Capabilities {
    let text = |file: &str| {
        let path = format!("/sys/class/input/{node}/device/{file}");
        system.text(&path).unwrap_or_default()
    };
    let number = |file| u16::from_str_radix(&text(file), 16).unwrap_or(0);
    Capabilities {
        name: text("name"),
        vendor: number("id/vendor"),
        product: number("id/product"),
        axes: bits(&text("capabilities/abs")),
        buttons: bits(&text("capabilities/key")),
    }
}

/// The indices of the bits that are set in hexadecimal words of 64 bits, the most significant
/// first.
fn bits(text: &str) -> Vec<u16> {
    let words = text.split_whitespace().rev().take(16).enumerate();
    let words = words.filter_map(|(at, word)| {
        let word = u64::from_str_radix(word, 16).ok()?;
        Some((at as u16 * 64, word))
    });
    words
        .flat_map(|(start, word)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| start + bit)
        })
        .collect()
}
