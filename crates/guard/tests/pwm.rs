//! The PWM pins' actuator on a made-up tree in place of sysfs. Its files are plain ones, so
//! a kernel's refusals (a pulse longer than the cycle) are not among what is tried.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_guard::actuators::{
    Pwm, PwmChannelSettings, PwmSettings, SteeringSettings, ThrottleSettings,
};
use pilotage_guard::{Actuator, ActuatorError, Mode, Output, conformance};
use pilotage_vehicle::Time;

/// A chip with two pins, exported and fresh.
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

    /// What the kernel does when told to.
    fn export(&self, channel: u8) {
        fs::create_dir(self.path().join(format!("pwm{channel}"))).unwrap();
        for name in ["period", "enable", "duty_cycle"] {
            fs::write(self.file(channel, name), "0\n").unwrap();
        }
    }

    /// The number in a file: its first line, as nothing here cuts a file off.
    fn holds(&self, channel: u8, name: &str) -> u32 {
        let text = fs::read_to_string(self.file(channel, name)).unwrap();
        text.lines().next().unwrap().parse().unwrap()
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
fn opening_sets_the_cycle_and_no_pulse() {
    let chip = Chip::new();
    // One is fresh, the other as a program that died left it.
    fs::write(chip.file(0, "period"), "10000000\n").unwrap();
    fs::write(chip.file(0, "duty_cycle"), "1900000\n").unwrap();
    let _pins = chip.open();
    for channel in [0, 1] {
        assert_eq!(chip.holds(channel, "period"), 20_000_000);
        assert_eq!(chip.holds(channel, "enable"), 1);
        assert_eq!(chip.holds(channel, "duty_cycle"), 0);
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

#[test]
fn another_writer_is_noticed_within_a_second_and_overruled() {
    for channel in [0, 1] {
        let chip = Chip::new();
        let mut pins = chip.open();
        pins.write(at(0), &FAILSAFE).unwrap();
        fs::write(chip.file(channel, "duty_cycle"), "1900000\n").unwrap();
        let noticed = (5..=1005).step_by(5).find_map(|millis| {
            let written = pins.write(at(millis), &FAILSAFE);
            written.err().map(|error| (millis, error))
        });
        let (millis, error) = noticed.unwrap();
        assert!(
            matches!(error, ActuatorError::Overwritten { .. }),
            "{error}"
        );
        pins.write(at(millis), &FAILSAFE).unwrap();
        let told = [1_500_000, 1_300_000][usize::from(channel)];
        assert_eq!(chip.holds(channel, "duty_cycle"), told);
    }
}

#[test]
fn a_pin_is_exported_where_it_is_not_yet() {
    let chip = Chip::new();
    fs::remove_dir_all(chip.path().join("pwm1")).unwrap();
    std::thread::scope(|scope| {
        // The kernel, and udev a little later.
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
fn a_pin_that_is_not_there_is_an_error() {
    let chip = Chip::new();
    fs::remove_dir_all(chip.path().join("pwm1")).unwrap();
    let missing = Pwm::open(&chip.settings(), Duration::ZERO).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let mut settings = chip.settings();
    settings.throttle_pin.chip = chip.path().join("pwmchip7");
    let missing = Pwm::open(&settings, Duration::ZERO).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn a_second_holder_is_refused() {
    let chip = Chip::new();
    let first = chip.open();
    let refused = Pwm::open(&chip.settings(), Duration::ZERO).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    drop(first);
    chip.open();
}
