//! Camera, the actuator's bus, pins.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use super::{Finding, Level, Needs, System, gamepad};

/// A kind of device: the location of its nodes and the group that may use them.
struct Kind {
    part: &'static str,
    /// The prefix of its nodes in /dev.
    node: &'static str,
    /// The folder in /sys with an entry for each device, and the file in it with the device's name.
    named: (&'static str, &'static str),
    /// The group of the nodes.
    group: &'static str,
    none: &'static str,
    fix: &'static str,
}

const CAMERA: Kind = Kind {
    part: "camera",
    node: "video",
    named: ("/sys/class/video4linux", "name"),
    group: "video",
    none: "no /dev/video*",
    fix: "plug it in, and see `dmesg`; a CSI camera of a Jetson wants `pipe` in car.toml",
};

const I2C: Kind = Kind {
    part: "I2C",
    node: "i2c-",
    named: ("/sys/class/i2c-adapter", "name"),
    group: "i2c",
    none: "no /dev/i2c-*",
    fix: "sudo modprobe i2c-dev; on a Raspberry Pi first `sudo raspi-config nonint do_i2c 0`; on a \
          Jetson the buses of the 40-pin header are on by default",
};

const GPIO: Kind = Kind {
    part: "GPIO",
    node: "gpiochip",
    named: ("/sys/bus/gpio/devices", "label"),
    group: "gpio",
    none: "no /dev/gpiochip*",
    fix: "only an output-enable pin needs one",
};

pub(super) fn findings(system: &System, needs: &Needs) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (kind, needed) in [
        (&CAMERA, needs.camera),
        (&I2C, needs.i2c),
        (&GPIO, needs.gpio),
    ] {
        findings.extend(of_kind(system, kind, "/dev", needed));
    }
    for (bus, address) in &needs.chips {
        findings.push(chip(bus, *address, system.time_reads(bus, *address, MODE1)));
    }
    findings.extend(needs.motors.as_deref().map(|path| motors(system, path)));
    findings.extend(gamepad::findings(system, needs.gamepad.as_ref()));
    findings
}

/// A register of the PCA9685 that can be read without an effect.
const MODE1: u8 = 0;
/// A read takes three bytes on the bus, 0.3 ms at 100 kHz. Slower ones delay the guard's ticks, of
/// 5 ms.
const SLOW_READ: Duration = Duration::from_millis(5);

/// Whether the motors' chip answers, from the longest of some reads. A running guard's writes are
/// not disturbed: the kernel makes one transfer after another.
pub(super) fn chip(bus: &Path, address: u8, read: io::Result<Duration>) -> Finding {
    let part = "motors";
    let chip = format!("the chip at {address:#04x} on {}", bus.display());
    match read {
        Ok(longest) if longest <= SLOW_READ => Finding::fine(
            part,
            format!(
                "{chip} answers within {:.1} ms",
                longest.as_secs_f64() * 1e3
            ),
        ),
        Ok(longest) => Finding::wrong(
            part,
            Level::Warning,
            format!(
                "{chip} takes {:.0} ms to answer",
                longest.as_secs_f64() * 1e3
            ),
            "shorten the wires, add ground, remove other programs from the bus (`sudo fuser -v \
             /dev/i2c-*`); a bus that hangs delays a stop (docs/hardware.md)",
        ),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Finding::wrong(
            part,
            Level::Warning,
            format!("{chip} cannot be asked ({error})"),
            "sudo usermod -aG i2c $USER, then log in again",
        ),
        Err(error) => Finding::missing(
            part,
            true,
            format!("{chip} does not answer ({error})"),
            "check its supply, SDA and SCL, and the bus: `i2cdetect -l` and `i2cdetect -y -r N` \
             (apt install i2c-tools) show what is where",
        ),
    }
}

/// The port of a VESC, a Maestro or a bridge, or the PWM chip. It is not opened: a guard may be using it.
fn motors(system: &System, path: &Path) -> Finding {
    let path = path.display().to_string();
    match system.target(&path) {
        Some(_) => Finding::fine("motors", path),
        None => Finding::missing(
            "motors",
            true,
            format!("no {path}"),
            "connect it; the name of a VESC, a Maestro or a bridge is in /dev/serial/by-id, and \
             a PWM chip's in /sys/class/pwm",
        ),
    }
}

fn of_kind(system: &System, kind: &Kind, folder: &str, needed: bool) -> Vec<Finding> {
    let nodes = system.names(folder, kind.node);
    if nodes.is_empty() {
        return vec![Finding::missing(kind.part, needed, kind.none, kind.fix)];
    }
    let (class, name) = kind.named;
    let each = nodes.iter().map(|node| {
        let path = format!("{folder}/{node}");
        let name = system.text(&format!("{class}/{node}/{name}"));
        let found = match name {
            Some(name) => format!("{path}: {name}"),
            None => path.clone(),
        };
        let Err(error) = system.try_open(&path) else {
            let modes = match kind.part == CAMERA.part {
                true => system.camera_modes(&path),
                false => None,
            };
            return match modes {
                Some(modes) => Finding::fine(kind.part, format!("{found}; {modes}")),
                None => Finding::fine(kind.part, found),
            };
        };
        let (level, fix) = match error.kind() {
            ErrorKind::PermissionDenied => (
                Level::Warning,
                format!(
                    "sudo usermod -aG {} $USER, then log in again; the services have their own \
                     groups",
                    kind.group
                ),
            ),
            _ => (
                Level::Warning,
                "see `dmesg`; something else may be using it".to_owned(),
            ),
        };
        Finding::wrong(kind.part, level, format!("{found} ({error})"), fix)
    });
    each.collect()
}
