//! The PWM actuator on a folder of regular files in place of sysfs. A kernel's refusals (a pulse
//! longer than the cycle) are not tested, except the refusal of another polarity, with a file that
//! cannot be written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_guard::drivers::{
    ActuatorSettings, CHECK_EVERY, Kind, Motors, OpenError, Pwm, PwmChannelSettings, PwmSettings,
    SteeringSettings, ThrottleSettings,
};
use pilotage_guard::{Actuator, ActuatorError, Mode, Output, conformance};
use pilotage_vehicle::Time;

/// A chip with two freshly exported pins.
struct Chip(tempfile::TempDir);

impl Chip {
    fn new() -> Self {
        let chip = Self(tempfile::tempdir().unwrap());
        fs::write(chip.path().join("export"), "").unwrap();
        for channel in [0, 1] {
            chip.export(channel);
        }
        chip
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, channel: u8, name: &str) -> PathBuf {
        self.path().join(format!("pwm{channel}")).join(name)
    }

    /// Exports a pin, as the kernel does on a write to `export`.
    fn export(&self, channel: u8) {
        fs::create_dir(self.path().join(format!("pwm{channel}"))).unwrap();
        for name in ["period", "enable", "duty_cycle"] {
            fs::write(self.file(channel, name), "0\n").unwrap();
        }
    }

    /// Gives each pin a polarity.
    fn polarised(self) -> Self {
        for channel in [0, 1] {
            fs::write(self.file(channel, "polarity"), "normal\n").unwrap();
        }
        self
    }

    /// The first line of a file: writes do not truncate these files.
    fn text(&self, channel: u8, name: &str) -> String {
        let text = fs::read_to_string(self.file(channel, name)).unwrap();
        text.lines().next().unwrap().to_owned()
    }

    fn holds(&self, channel: u8, name: &str) -> u32 {
        self.text(channel, name).parse().unwrap()
    }

    /// Sets the permissions so that the pins are locked: a file that all users may read is not
    /// locked.
    fn restrict_permissions(&self) {
        for channel in [0, 1] {
            let mode = Permissions::from_mode(0o660);
            fs::set_permissions(self.file(channel, "duty_cycle"), mode).unwrap();
        }
    }

    fn settings(&self) -> PwmSettings {
        let pin = PwmChannelSettings {
            chip: self.path().to_owned(),
        };
        PwmSettings {
            frequency: 50.0,
            steering_pin: pin.clone(),
            throttle_pin: pin,
            steering: SteeringSettings {
                channel: 1,
                left_us: 1100,
                centre_us: 1500,
                right_us: 1900,
                failsafe_us: 1300,
                disarmed_us: 1700,
            },
            throttle: ThrottleSettings {
                channel: 0,
                ahead_us: 2000,
                neutral_us: 1500,
                reverse_us: 1000,
                failsafe_us: 1500,
                disarmed_us: 1500,
                arming: Vec::new(),
                brake: None,
            },
        }
    }

    fn open(&self) -> Pwm {
        Pwm::open(&self.settings(), Duration::ZERO).unwrap()
    }
}

fn at(millis: u64) -> Time {
    Time::from_nanos(1_000_000 * (millis + 1))
}

const FAILSAFE: Output = Output {
    mode: Mode::Failsafe,
    steering: 0.0,
    throttle: 0.0,
};

#[test]
fn it_is_an_actuator() {
    let chip = Chip::new();
    conformance::actuator(&mut chip.open(), 1e-4, |_| {
        let value = |channel, end: f32| (chip.holds(channel, "duty_cycle") as f32 - 15e5) / end;
        (value(1, -4e5), value(0, 5e5))
    });
}

#[test]
fn opening_writes_nothing_and_the_first_write_sets_the_pins_up() {
    let chip = Chip::new();
    // One pin is fresh, the other as a program that died left it.
    fs::write(chip.file(0, "period"), "10000000\n").unwrap();
    fs::write(chip.file(0, "duty_cycle"), "1900000\n").unwrap();
    let mut pins = chip.open();
    assert_eq!(chip.holds(0, "period"), 10_000_000);
    assert_eq!(chip.holds(0, "duty_cycle"), 1_900_000);
    pins.write(at(0), &FAILSAFE).unwrap();
    for (channel, pulse) in [(0, 1_500_000), (1, 1_300_000)] {
        assert_eq!(chip.holds(channel, "period"), 20_000_000);
        assert_eq!(chip.holds(channel, "enable"), 1);
        assert_eq!(chip.holds(channel, "duty_cycle"), pulse);
    }
}

#[test]
fn no_pulse_is_a_duty_of_zero() {
    let chip = Chip::new();
    let mut settings = chip.settings();
    settings.throttle.failsafe_us = 0;
    let mut pins = Pwm::open(&settings, Duration::ZERO).unwrap();
    pins.write(at(0), &FAILSAFE).unwrap();
    assert_eq!(chip.holds(0, "duty_cycle"), 0);
    assert_eq!(chip.holds(1, "duty_cycle"), 1_300_000);
}

/// pwm-tegra's duty cycle has 8 bits: 20 ms / 256 = 78 us, a thirteenth of a servo's range.
#[test]
fn a_chip_that_is_too_coarse_for_a_servo_is_refused() {
    let chip = Chip::new();
    fs::create_dir(chip.path().join("device")).unwrap();
    let driver = chip.path().join("device/driver");
    let bind = |name: &str| {
        let _ = fs::remove_file(&driver);
        std::os::unix::fs::symlink(format!("../../../bus/platform/drivers/{name}"), &driver)
    };
    bind("tegra-pwm").unwrap();
    let open = |frequency: f32| {
        let mut settings = chip.settings();
        settings.frequency = frequency;
        Pwm::open(&settings, Duration::ZERO)
    };
    let error = open(50.0).unwrap_err();
    assert!(matches!(error, OpenError::Coarse { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("tegra-pwm, sets pulses in steps of 78 us"),
        "{message}"
    );
    // 10.02 us and 9.99 us.
    assert!(open(390.0).is_err());
    assert!(open(391.0).is_ok());
    bind("pwm-bcm2835").unwrap();
    assert!(open(50.0).is_ok());
    // Only one of the pins is on such a chip.
    let other = Chip::new();
    bind("tegra-pwm").unwrap();
    for throttle in [true, false] {
        let mut settings = other.settings();
        match throttle {
            true => settings.throttle_pin.chip = chip.path().to_owned(),
            false => settings.steering_pin.chip = chip.path().to_owned(),
        }
        assert!(Pwm::open(&settings, Duration::ZERO).is_err());
    }
}

/// Another program's writes to a pin: the file and the value.
const FOREIGN_WRITES: [(&str, &str); 4] = [
    ("duty_cycle", "1900000"),
    ("period", "2500000"),
    ("enable", "0"),
    ("polarity", "inversed"),
];

#[test]
fn another_writer_is_detected_within_a_second_and_overwritten() {
    for (channel, (name, value)) in [0, 1]
        .into_iter()
        .flat_map(|pin| FOREIGN_WRITES.map(|o| (pin, o)))
    {
        let chip = Chip::new().polarised();
        let mut pins = chip.open();
        pins.write(at(0), &FAILSAFE).unwrap();
        for millis in (5..500).step_by(5) {
            pins.write(at(millis), &FAILSAFE).unwrap();
        }
        fs::write(chip.file(channel, name), format!("{value}\n")).unwrap();
        let detected = (500..=1505).step_by(5).find_map(|millis| {
            let written = pins.write(at(millis), &FAILSAFE);
            written.err().map(|error| (millis, error))
        });
        let (millis, error) = detected.unwrap();
        assert!(millis <= 500 + CHECK_EVERY.as_millis() as u64);
        let message = error.to_string();
        let ActuatorError::Overwritten { setting, holds, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((setting, holds.as_str()), (name, value));
        let pin = chip.path().join(format!("pwm{channel}"));
        assert!(message.starts_with(&pin.display().to_string()), "{message}");
        // All settings of both pins are written again.
        pins.write(at(millis), &FAILSAFE).unwrap();
        for (pin, pulse) in [(0, 1_500_000), (1, 1_300_000)] {
            assert_eq!(chip.holds(pin, "duty_cycle"), pulse);
            assert_eq!(chip.holds(pin, "period"), 20_000_000);
            assert_eq!(chip.holds(pin, "enable"), 1);
            assert_eq!(chip.text(pin, "polarity"), "normal");
        }
    }
}

#[test]
fn an_inverted_pin_is_made_normal_at_the_start() {
    let chip = Chip::new().polarised();
    fs::write(chip.file(0, "polarity"), "inversed\n").unwrap();
    fs::write(chip.file(0, "period"), "10000000\n").unwrap();
    fs::write(chip.file(0, "enable"), "1\n").unwrap();
    chip.open().write(at(0), &FAILSAFE).unwrap();
    assert_eq!(chip.text(0, "polarity"), "normal");
    assert_eq!(chip.holds(0, "enable"), 1);
}

/// The polarity is not `normal` and cannot be written, as with a driver that refuses it.
#[test]
fn a_pin_that_stays_inverted_is_refused_with_advice() {
    let chip = Chip::new().polarised();
    let polarity = chip.file(1, "polarity");
    fs::remove_file(&polarity).unwrap();
    std::os::unix::fs::symlink("/proc/version", &polarity).unwrap();
    let error = chip.open().write(at(0), &FAILSAFE).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, ActuatorError::Polarity { .. }), "{message}");
    assert!(
        message.contains("pwm1: ") && message.contains("use another pin"),
        "{message}"
    );
    assert_eq!(chip.holds(1, "enable"), 0, "the pin puts out nothing");
}

#[test]
fn a_pin_that_is_not_exported_is_exported() {
    let chip = Chip::new();
    fs::remove_dir_all(chip.path().join("pwm1")).unwrap();
    std::thread::scope(|scope| {
        // In place of the kernel and udev, which export the pin a little later.
        scope.spawn(|| {
            while fs::read_to_string(chip.path().join("export")).unwrap() != "1" {
                std::thread::sleep(Duration::from_millis(1));
            }
            chip.export(1);
        });
        chip.open().write(at(0), &FAILSAFE).unwrap();
    });
    assert_eq!(chip.holds(1, "duty_cycle"), 1_300_000);
}

#[test]
fn a_missing_pin_is_an_error() {
    let chip = Chip::new();
    fs::remove_dir_all(chip.path().join("pwm1")).unwrap();
    let mut elsewhere = chip.settings();
    elsewhere.throttle_pin.chip = chip.path().join("pwmchip7");
    for settings in [chip.settings(), elsewhere] {
        let missing = Pwm::open(&settings, Duration::ZERO).unwrap_err();
        let OpenError::Device { reason, .. } = &missing else {
            panic!("{missing}");
        };
        assert_eq!(reason.kind(), ErrorKind::NotFound);
    }
}

#[test]
fn a_second_holder_is_refused() {
    let chip = Chip::new();
    chip.restrict_permissions();
    let first = chip.open();
    let refused = Pwm::open(&chip.settings(), Duration::ZERO).unwrap_err();
    assert!(matches!(refused, OpenError::Taken { .. }), "{refused}");
    // Failsafe is not refused, and does not wait indefinitely.
    let settings = ActuatorSettings {
        kind: Kind::Pwm,
        pwm: Some(chip.settings()),
        ..ActuatorSettings::default()
    };
    let refused = Motors::open(&settings, Duration::from_millis(5)).err();
    assert!(matches!(refused, Some(OpenError::Taken { .. })));
    let failsafe = Motors::open_for_failsafe(&settings, Duration::from_millis(5));
    let mut failsafe = failsafe.unwrap();
    failsafe.write(at(0), &FAILSAFE).unwrap();
    assert_eq!(chip.holds(0, "duty_cycle"), 1_500_000);
    drop((first, failsafe));
    chip.open();
}

#[test]
fn a_lock_that_any_user_can_take_is_ignored() {
    let chip = Chip::new();
    let duty = fs::File::open(chip.file(0, "duty_cycle")).unwrap();
    rustix::fs::flock(&duty, rustix::fs::FlockOperation::LockExclusive).unwrap();
    chip.open().write(at(0), &FAILSAFE).unwrap();
    assert_eq!(chip.holds(0, "duty_cycle"), 1_500_000);
}

#[test]
fn after_opening_a_write_does_not_allocate() {
    let chip = Chip::new().polarised();
    let mut pins = chip.open();
    pins.write(at(0), &FAILSAFE).unwrap();
    let counted = allocation_counter::measure(|| {
        for step in 1..1000_u16 {
            let value = f32::from(step % 100) / 50.0 - 1.0;
            let drive = Output {
                mode: Mode::Drive,
                steering: value,
                throttle: value,
            };
            pins.write(at(u64::from(step) * 5), &drive).unwrap();
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_device_that_cannot_be_opened_is_reported_with_advice() {
    let text = |kind: ErrorKind| {
        let device = PathBuf::from("/dev/i2c-1");
        let reason = kind.into();
        OpenError::Device { device, reason }.to_string()
    };
    assert!(text(ErrorKind::NotFound).contains("is it switched on and connected"));
    assert!(text(ErrorKind::PermissionDenied).contains("add the user to the device's group"));
    let other = text(ErrorKind::TimedOut);
    assert!(
        other.starts_with("/dev/i2c-1: ") && !other.contains(';'),
        "{other}"
    );
}
