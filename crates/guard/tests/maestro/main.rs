//! The Maestro actuator over a pseudo-terminal, with a model Maestro at the other end. No physical
//! Maestro has been tested.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod failures;
mod model;
#[path = "../support/outputs.rs"]
mod outputs;
#[path = "../support/pty.rs"]
mod pty;

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use model::{Model, STEERING, THROTTLE};
use outputs::{DISARMED, FAILSAFE, at, output};
use pilotage_guard::drivers::{Maestro, MaestroSettings, SteeringSettings, ThrottleSettings};
use pilotage_guard::{Actuator, ActuatorError, Mode, Output, conformance};

/// A driver and its model.
struct Bench {
    _folder: tempfile::TempDir,
    port: PathBuf,
    model: Model,
    maestro: Maestro,
    millis: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(settings)
    }

    fn with(settings: impl Fn(&Path) -> MaestroSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = folder.path().join("maestro");
        let model = Model::plug(&port);
        let maestro = Maestro::open(&settings(&port), Duration::ZERO).unwrap();
        Self {
            _folder: folder,
            port,
            model,
            maestro,
            millis: 0,
        }
    }

    /// A write at the next tick, which the model obeys.
    fn write(&mut self, output: &Output) -> Result<(), ActuatorError> {
        self.millis += 5;
        let written = self.maestro.write(at(self.millis), output);
        self.model.serve();
        written
    }

    /// Writes that succeed.
    fn run(&mut self, millis: u64, output: &Output) {
        for _ in 0..millis / 5 {
            self.write(output).unwrap();
        }
    }

    /// Writes until one fails, which must be within `limit`.
    fn failure(&mut self, limit: Duration, output: &Output) -> ActuatorError {
        let began = self.millis;
        loop {
            if let Err(error) = self.write(output) {
                return error;
            }
            let passed = Duration::from_millis(self.millis - began);
            assert!(passed <= limit, "no failure within {limit:?}");
        }
    }

    /// Writes until one succeeds, which must be within a second.
    fn recovery(&mut self, output: &Output) {
        let began = self.millis;
        while self.write(output).is_err() {
            assert!(self.millis - began <= 1000, "no recovery within a second");
        }
    }
}

fn settings(port: &Path) -> MaestroSettings {
    MaestroSettings {
        port: port.to_owned(),
        steering: SteeringSettings {
            channel: STEERING as u8,
            left_us: 1100,
            centre_us: 1500,
            right_us: 1900,
            failsafe_us: 1300,
            disarmed_us: 1700,
        },
        throttle: ThrottleSettings {
            channel: THROTTLE as u8,
            ahead_us: 2000,
            neutral_us: 1510,
            reverse_us: 1000,
            failsafe_us: 1510,
            disarmed_us: 0,
            arming: Vec::new(),
            brake: None,
        },
    }
}

#[test]
fn it_is_an_actuator() {
    let mut bench = Bench::with(|port| {
        let mut settings = settings(port);
        settings.throttle.neutral_us = 1500;
        settings.throttle.failsafe_us = 1500;
        settings.throttle.disarmed_us = 1500;
        settings
    });
    let model = &mut bench.model;
    assert_eq!(bench.maestro.name(), "maestro");
    conformance::actuator(&mut bench.maestro, 1e-3, |_| {
        model.serve();
        let [throttle, steering] = model.micros();
        ((1500.0 - steering) / 400.0, (throttle - 1500.0) / 500.0)
    });
}

#[test]
fn each_output_is_a_pulse_and_zero_is_none() {
    let mut bench = Bench::new();
    bench.model.serve();
    assert_eq!(bench.model.targets, [], "nothing before the first write");
    for (output, throttle, steering) in [
        (DISARMED, 0.0, 1700.0),
        (FAILSAFE, 1510.0, 1300.0),
        (output(Mode::Drive, 1.0, 1.0), 2000.0, 1100.0),
        (output(Mode::Drive, -1.0, -0.5), 1255.0, 1900.0),
        // Quarters of a microsecond.
        (output(Mode::Drive, 0.001, 0.001), 1510.5, 1499.5),
        (output(Mode::Drive, 0.0, 0.0), 1510.0, 1500.0),
        (FAILSAFE, 1510.0, 1300.0),
        (DISARMED, 0.0, 1700.0),
    ] {
        bench.write(&output).unwrap();
        assert_eq!(bench.model.micros(), [throttle, steering], "{output:?}");
        bench.run(200, &output);
        assert_eq!(bench.model.micros(), [throttle, steering], "{output:?}");
    }
    assert_eq!(bench.model.errors, 0);
    assert_eq!(bench.model.targets[0], (THROTTLE, 0), "the motor first");
}

/// Without commands the board's serial time-out would pass while nothing changes.
#[test]
fn a_command_is_sent_every_50_ms_at_least() {
    let mut bench = Bench::new();
    bench.run(100, &FAILSAFE);
    let mut bytes = [0; 64];
    for _ in 0..20 {
        let sent = (0..10).any(|_| {
            bench.millis += 5;
            let written = bench.maestro.write(at(bench.millis), &FAILSAFE);
            written.unwrap();
            let length = bench.model.end.read(&mut bytes).unwrap_or(0);
            for byte in &bytes[..length] {
                bench.model.take(*byte);
            }
            length > 0
        });
        assert!(sent);
    }
}

/// While an operator trims.
#[test]
fn adjusted_pulses_are_sent_with_the_next_write() {
    let mut bench = Bench::new();
    bench.run(500, &FAILSAFE);
    assert_eq!(bench.model.micros(), [1510.0, 1300.0]);
    let mut adjusted = settings(&bench.port);
    adjusted.steering.failsafe_us = 1350;
    bench.maestro.adjust(&adjusted);
    bench.write(&FAILSAFE).unwrap();
    assert_eq!(bench.model.micros(), [1510.0, 1350.0]);
}

#[test]
fn a_port_that_is_not_read_never_blocks() {
    let mut bench = Bench::new();
    let began = Instant::now();
    let mut failed = false;
    for millis in 0..60_000 {
        let value = (millis % 100) as f32 / 100.0;
        let drive = output(Mode::Drive, value, value);
        failed |= bench.maestro.write(at(millis), &drive).is_err();
    }
    assert!(failed, "a board that does not read is reported");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_second_holder_is_refused() {
    let bench = Bench::new();
    let refused = Maestro::open(&settings(&bench.port), Duration::ZERO).unwrap_err();
    assert!(
        matches!(
            refused.kind(),
            ErrorKind::WouldBlock | ErrorKind::ResourceBusy
        ),
        "{refused}"
    );
    drop(bench.maestro);
    Maestro::open(&settings(&bench.port), Duration::from_secs(1)).unwrap();
}

#[test]
fn after_the_first_a_write_does_not_allocate() {
    let mut bench = Bench::new();
    bench.write(&FAILSAFE).unwrap();
    for step in 0..600_u64 {
        let value = (step % 7) as f32 / 7.0;
        let drive = output(Mode::Drive, value, value);
        let counted = allocation_counter::measure(|| {
            bench.maestro.write(at(step + 100), &drive).unwrap();
        });
        assert_eq!(counted.count_total, 0);
        bench.model.serve();
    }
}
