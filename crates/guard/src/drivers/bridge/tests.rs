//! The driver over a pseudo-terminal, with what the firmware runs at the other end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use pilotage_bridge::{Input, Outputs};
use rustix::fs::OFlags;

use super::*;
use crate::conformance;
use crate::drivers::pty;
use crate::drivers::settings::{ArmingStep, BrakeSettings, SteeringSettings, ThrottleSettings};

fn settings(port: &Path) -> BridgeSettings {
    BridgeSettings {
        port: port.to_owned(),
        baud: 115_200,
        steering: SteeringSettings {
            channel: 0,
            left_us: 1100,
            centre_us: 1500,
            right_us: 1900,
            failsafe_us: 1300,
            disarmed_us: 1700,
        },
        throttle: ThrottleSettings {
            channel: 1,
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

/// A speed controller in forward/brake mode.
fn with_brake(port: &Path) -> BridgeSettings {
    let mut settings = settings(port);
    settings.throttle.reverse_us = 1500;
    settings.throttle.brake = Some(BrakeSettings { us: 1200, ms: 300 });
    settings
}

/// A microcontroller at the other end of the port.
struct Device {
    end: File,
    bridge: pilotage_bridge::Bridge,
    /// Whether it answers.
    answers: bool,
    /// Whether it changes the servo's pulse in its answers.
    lies: bool,
    /// How late its answers are, milliseconds.
    delay: u64,
    /// The answers on their way, and when they arrive.
    answering: VecDeque<(u64, [u8; STATUS])>,
}

impl Device {
    fn plug(port: &Path) -> Self {
        let end = pty::plug(port);
        rustix::fs::fcntl_setfl(&end, OFlags::NONBLOCK).unwrap();
        Self {
            end,
            bridge: pilotage_bridge::Bridge::new(),
            answers: true,
            lies: false,
            delay: 0,
            answering: VecDeque::new(),
        }
    }

    /// Obeys what has arrived by `millis`.
    fn serve(&mut self, millis: u64) -> Outputs {
        let mut bytes = [0; 4096];
        let length = match self.end.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            read => read.unwrap_or(0),
        };
        for byte in &bytes[..length] {
            let Some(mut answer) = self.bridge.receive(1000 * millis, *byte) else {
                continue;
            };
            if self.lies {
                let status = Status::read(&answer).unwrap();
                let steering = status.steering + 1;
                answer = Status { steering, ..status }.write();
            }
            if self.answers {
                self.answering.push_back((millis + self.delay, answer));
            }
        }
        while let Some((arrival, answer)) = self.answering.front()
            && *arrival <= millis
        {
            self.end.write_all(answer).unwrap();
            self.answering.pop_front();
        }
        self.bridge.outputs(1000 * millis)
    }
}

/// A driver and its device.
struct Bench {
    _folder: tempfile::TempDir,
    port: PathBuf,
    device: Device,
    driver: Bridge,
    millis: u64,
}

impl Bench {
    fn new(settings: impl Fn(&Path) -> BridgeSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = folder.path().join("bridge");
        let device = Device::plug(&port);
        let driver = Bridge::open(&settings(&port), Duration::ZERO).unwrap();
        Self {
            _folder: folder,
            port,
            device,
            driver,
            millis: 1000,
        }
    }

    /// A write at the next tick, which the device obeys.
    fn write(&mut self, output: &Output) -> Result<(), ActuatorError> {
        self.millis += 5;
        let written = self.driver.write(at(self.millis), output);
        self.device.serve(self.millis);
        written
    }

    fn run(&mut self, millis: u64, output: &Output) {
        for _ in 0..millis / 5 {
            self.write(output).unwrap();
        }
    }

    /// Writes until one fails, which must be within `millis`.
    fn failure(&mut self, millis: u64, output: &Output) -> ActuatorError {
        for _ in 0..=millis / 5 {
            if let Err(error) = self.write(output) {
                return error;
            }
        }
        panic!("no failure within {millis} ms");
    }

    /// Writes failsafe until one succeeds, which must be within a second.
    fn recovery(&mut self) {
        let recovered = (0..200).any(|_| self.write(&FAILSAFE).is_ok());
        assert!(recovered, "no recovery within a second");
    }

    /// Writes failsafe for a second, in which each write fails, the last ones as `expected`.
    fn recovery_fails_with(&mut self, expected: impl Fn(&ActuatorError) -> bool) {
        let mut last = None;
        for _ in 0..200 {
            last = Some(self.write(&FAILSAFE).unwrap_err());
        }
        assert!(last.as_ref().is_some_and(expected), "{last:?}");
    }

    fn outputs(&mut self) -> (u16, u16) {
        let outputs = self.device.serve(self.millis);
        (outputs.steering, outputs.throttle)
    }

    /// The radio receiver's pulses.
    fn receiver(&mut self, switch: u16) {
        for (input, us) in [
            (Input::Steering, 1444),
            (Input::Throttle, 1555),
            (Input::Switch, switch),
        ] {
            self.device.bridge.pulse(1000 * self.millis, input, us);
        }
    }
}

fn at(millis: u64) -> Time {
    Time::from_nanos(1_000_000 * millis)
}

const FAILSAFE: Output = Output {
    mode: Mode::Failsafe,
    steering: 0.0,
    throttle: 0.0,
};
const DRIVE: Output = Output {
    mode: Mode::Drive,
    steering: 1.0,
    throttle: 0.5,
};

#[test]
fn it_is_an_actuator() {
    let mut bench = Bench::new(|port| {
        let mut settings = settings(port);
        settings.steering.disarmed_us = 1700;
        settings
    });
    assert_eq!(bench.driver.name(), "bridge");
    let device = &mut bench.device;
    // The model's clock does not matter here: each command comes in time.
    conformance::actuator(&mut bench.driver, 2e-3, |_| {
        let outputs = device.serve(0);
        let value = |us: u16, end: f32| (f32::from(us) - 1500.0) / end;
        (
            value(outputs.steering, -400.0),
            value(outputs.throttle, 500.0),
        )
    });
}

#[test]
fn each_output_is_put_out_and_a_new_command_comes_in_time() {
    let mut bench = Bench::new(settings);
    assert_eq!(bench.outputs(), (0, 0), "nothing before the first write");
    for (output, expected) in [
        (
            Output {
                mode: Mode::Disarmed,
                ..FAILSAFE
            },
            (1700, 1500),
        ),
        (FAILSAFE, (1300, 1500)),
        (DRIVE, (1100, 1750)),
        (
            Output {
                steering: -0.5,
                throttle: -1.0,
                ..DRIVE
            },
            (1700, 1000),
        ),
        (
            Output {
                mode: Mode::Brake,
                ..FAILSAFE
            },
            (1300, 1500),
        ),
        (
            Output {
                mode: Mode::Disarmed,
                ..FAILSAFE
            },
            (1700, 1500),
        ),
    ] {
        // Far longer than the bridge's dead-man.
        bench.run(500, &output);
        assert_eq!(bench.outputs(), expected, "{output:?}");
    }
    assert_eq!(bench.driver.settings, settings(&bench.port));
}

#[test]
fn a_silent_guard_is_braked_and_must_stop_before_it_drives_again() {
    let mut bench = Bench::new(with_brake);
    bench.run(20, &FAILSAFE);
    bench.run(100, &DRIVE);
    bench.millis += 100;
    assert_eq!(bench.outputs(), (1300, 1200), "the brake, by the bridge");
    bench.millis += 300;
    assert_eq!(bench.outputs(), (1300, 1500));
    let error = bench.failure(50, &DRIVE);
    assert!(matches!(error, ActuatorError::Held { .. }), "{error}");
    assert_eq!(bench.outputs(), (1300, 1500));
    bench.recovery();
    bench.run(100, &DRIVE);
    assert_eq!(bench.outputs(), (1100, 1750));
}

#[test]
fn the_guards_own_brake_is_put_out_and_not_repeated_by_the_bridge() {
    let mut bench = Bench::new(with_brake);
    bench.run(20, &FAILSAFE);
    bench.run(100, &DRIVE);
    bench.run(
        50,
        &Output {
            mode: Mode::Brake,
            ..FAILSAFE
        },
    );
    assert_eq!(bench.outputs(), (1300, 1200));
    // The guard dies while it brakes.
    bench.millis += 100;
    assert_eq!(bench.outputs(), (1300, 1500));
}

#[test]
fn a_transmitter_that_takes_over_or_is_lost_is_a_failure() {
    let mut bench = Bench::new(settings);
    bench.run(20, &FAILSAFE);
    bench.receiver(1000);
    bench.run(50, &DRIVE);
    bench.receiver(2000);
    let error = bench.failure(50, &DRIVE);
    assert!(matches!(error, ActuatorError::Overridden { .. }), "{error}");
    assert_eq!(bench.outputs(), (1444, 1555));
    bench.millis += 100;
    bench.recovery_fails_with(|error| matches!(error, ActuatorError::RemoteLost { .. }));
    for _ in 0..200 {
        bench.receiver(1000);
        if bench.write(&FAILSAFE).is_ok() {
            return;
        }
    }
    panic!("no recovery");
}

/// An output that differs from that of the tick before, so that each tick sends a command.
fn swerving(millis: u64) -> Output {
    let steering = if millis.is_multiple_of(10) { 0.5 } else { -0.5 };
    Output { steering, ..DRIVE }
}

/// Answers that come after later commands have been sent.
#[test]
fn failures_are_seen_in_answers_that_are_three_ticks_late() {
    for (taken, lost) in [(false, false), (true, false), (true, true)] {
        let mut bench = Bench::new(settings);
        bench.device.delay = 15;
        bench.run(200, &FAILSAFE);
        bench.receiver(1000);
        // No failure is seen in old answers of a bridge that obeys.
        for _ in 0..10 {
            bench.write(&swerving(bench.millis)).unwrap();
        }
        if taken {
            bench.receiver(2000);
        }
        // The bridge stops by itself, or loses its transmitter.
        if !taken || lost {
            bench.millis += 120;
        }
        if !lost {
            bench.receiver(if taken { 2000 } else { 1000 });
        }
        let error = (0..20).find_map(|_| {
            let output = swerving(bench.millis);
            bench.write(&output).err()
        });
        let found = match error {
            Some(ActuatorError::Held { .. }) => (false, false),
            Some(ActuatorError::Overridden { .. }) => (true, false),
            Some(ActuatorError::RemoteLost { .. }) => (true, true),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, (taken, lost));
        for _ in 0..200 {
            bench.receiver(1000);
            let _ = bench.write(&FAILSAFE);
        }
        bench.write(&FAILSAFE).unwrap();
    }
}

#[test]
fn silence_and_wrong_pulses_are_failures() {
    let mut bench = Bench::new(settings);
    bench.run(1000, &FAILSAFE);
    bench.device.answers = false;
    let error = bench.failure(400, &FAILSAFE);
    assert!(matches!(error, ActuatorError::Silent { .. }), "{error}");
    bench.device.answers = true;
    bench.recovery();
    bench.device.lies = true;
    let error = bench.failure(50, &FAILSAFE);
    let ActuatorError::Moved {
        channel,
        written,
        holds,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((channel, written, holds), (0, 1300.0, 1301.0));
    bench.device.lies = false;
    bench.recovery();
    // A pause, as while an operator trims, is no silence.
    bench.device.answers = false;
    bench.write(&FAILSAFE).unwrap();
    bench.millis += 60_000;
    bench.write(&FAILSAFE).unwrap();
}

#[test]
fn an_unplugged_port_is_a_failure_and_is_opened_again() {
    let mut bench = Bench::new(settings);
    bench.run(100, &FAILSAFE);
    drop(std::mem::replace(
        &mut bench.device,
        Device::plug(&bench.port),
    ));
    bench.write(&FAILSAFE).unwrap_err();
    bench.recovery();
    bench.run(100, &DRIVE);
    assert_eq!(bench.outputs(), (1100, 1750));
    // It is locked.
    Bridge::open(&settings(&bench.port), Duration::ZERO).unwrap_err();
}

#[test]
fn the_controller_is_armed_before_it_drives_and_adjusted_pulses_are_sent() {
    let mut bench = Bench::new(|port| {
        let mut settings = settings(port);
        settings.throttle.arming = vec![ArmingStep { us: 1400, ms: 100 }];
        settings
    });
    bench.run(20, &FAILSAFE);
    bench.run(50, &DRIVE);
    assert_eq!(bench.outputs(), (1100, 1400));
    bench.run(100, &DRIVE);
    assert_eq!(bench.outputs(), (1100, 1750));
    let mut other = settings(&bench.port);
    other.steering.left_us = 1200;
    bench.driver.adjust(&other);
    bench.run(10, &DRIVE);
    assert_eq!(bench.outputs(), (1200, 1750));
}

#[test]
fn noise_delays_nothing_and_a_write_does_not_allocate() {
    let mut bench = Bench::new(settings);
    bench.run(100, &FAILSAFE);
    let mut noise = 1_u32;
    for _ in 0..400 {
        let bytes: [u8; 40] = std::array::from_fn(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        });
        bench.device.end.write_all(&bytes).unwrap();
        bench.millis += 5;
        let counted = allocation_counter::measure(|| {
            bench.driver.write(at(bench.millis), &FAILSAFE).unwrap();
        });
        assert_eq!(counted.count_total, 0);
        bench.device.serve(bench.millis);
    }
}
