//! The Maestro actuator over a pseudo-terminal, with a model Maestro at the other end. No physical
//! Maestro has been tested.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod model;
#[path = "../support/outputs.rs"]
mod outputs;
#[path = "../support/pty.rs"]
mod pty;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use model::{Model, PROTOCOL, STEERING, THROTTLE, TIME_OUT};
use outputs::{DISARMED, FAILSAFE, at, output};
use pilotage_guard::drivers::{
    ArmingStep, CHECK_EVERY, Maestro, MaestroSettings, SteeringSettings, ThrottleSettings,
};
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

#[test]
fn an_unfinished_command_and_old_errors_do_not_matter() {
    let mut bench = Bench::new();
    bench.model.raise(TIME_OUT | 0x100);
    for byte in [0x84, 0x00, 0x70] {
        bench.model.take(byte);
    }
    bench.run(1000, &FAILSAFE);
    assert_eq!(bench.model.micros(), [1510.0, 1300.0]);
    assert_eq!(bench.model.errors, 0);
}

#[test]
fn an_error_of_the_board_is_a_failure_and_the_channels_are_set_again() {
    for (error, expected) in [
        (TIME_OUT, "time-out"),
        (PROTOCOL, "does not understand"),
        (0x0100, "script"),
        (0x01FF, "serial signal"),
    ] {
        let mut bench = Bench::new();
        let drive = output(Mode::Drive, 0.5, 0.5);
        bench.run(500, &drive);
        bench.model.raise(error);
        let failure = bench.failure(Duration::from_millis(110), &drive);
        let message = failure.to_string();
        assert!(
            matches!(failure, ActuatorError::Reported { register, .. } if register == error),
            "{message}"
        );
        assert!(message.contains(expected), "{message}");
        bench.recovery(&FAILSAFE);
        assert_eq!(bench.model.micros(), [1510.0, 1300.0]);
        bench.run(1000, &FAILSAFE);
    }
}

#[test]
fn a_channel_that_is_moved_is_detected_and_written_again() {
    for (channel, position) in [
        (THROTTLE, 8000),
        (STEERING, 4400),
        (STEERING, 0),
        (THROTTLE, 6041),
    ] {
        let mut bench = Bench::new();
        bench.run(500, &FAILSAFE);
        bench.model.positions[channel] = position;
        let failure = bench.failure(CHECK_EVERY, &FAILSAFE);
        let message = failure.to_string();
        assert!(matches!(failure, ActuatorError::Moved { .. }), "{message}");
        assert!(
            message.contains(&format!("channel {channel} puts out")),
            "{message}"
        );
        bench.recovery(&FAILSAFE);
        assert_eq!(bench.model.micros(), [1510.0, 1300.0]);
        bench.run(1000, &FAILSAFE);
    }
}

/// It has lost its limits' removal as well, so a target alone would not be enough.
#[test]
fn a_board_that_was_reset_is_set_up_again() {
    let mut bench = Bench::new();
    bench.run(500, &FAILSAFE);
    bench.model.reset();
    let failure = bench.failure(CHECK_EVERY, &FAILSAFE);
    assert!(matches!(failure, ActuatorError::Moved { .. }), "{failure}");
    bench.recovery(&FAILSAFE);
    assert_eq!(bench.model.micros(), [1510.0, 1300.0]);
    bench.run(1000, &FAILSAFE);
}

#[test]
fn another_writer_is_a_failure_as_long_as_it_writes() {
    let mut bench = Bench::new();
    bench.run(500, &FAILSAFE);
    bench.model.positions[THROTTLE] = 8000;
    let _ = bench.failure(CHECK_EVERY, &FAILSAFE);
    for _ in 0..400 {
        bench.model.positions[THROTTLE] = 8000;
        // Also after the board was set up again, and the other program has written once more.
        bench.millis += 5;
        let written = bench.maestro.write(at(bench.millis), &FAILSAFE);
        assert!(
            matches!(written, Err(ActuatorError::Moved { channel: 0, .. })),
            "{written:?}"
        );
        moved_after_the_targets(&mut bench.model);
    }
    bench.recovery(&FAILSAFE);
}

/// Obeys the commands, except that the other program's pulse is what is read.
fn moved_after_the_targets(model: &mut Model) {
    let mut bytes = [0; 4096];
    while let Ok(length) = model.end.read(&mut bytes) {
        for byte in &bytes[..length] {
            if *byte == 0x90 {
                model.positions[THROTTLE] = 8000;
            }
            model.take(*byte);
        }
    }
}

#[test]
fn a_pulse_that_the_boards_own_settings_cut_is_a_failure() {
    let mut bench = Bench::new();
    // The factory's Min and Max.
    bench.model.range = (4 * 992, 4 * 1850);
    bench.run(500, &output(Mode::Drive, 0.0, 0.5));
    let failure = bench.failure(CHECK_EVERY, &output(Mode::Drive, 0.0, 1.0));
    let message = failure.to_string();
    assert!(
        message.contains("puts out 1850 us, expected 2000 us") && message.contains("Min, Max"),
        "{message}"
    );
}

/// The pulses of a car that drives change at each frame.
#[test]
fn changing_pulses_are_not_taken_for_another_writer() {
    let mut bench = Bench::new();
    for step in 0..2000_u16 {
        let value = f32::from(step % 100) / 50.0 - 1.0;
        bench.write(&output(Mode::Drive, value, -value)).unwrap();
    }
}

#[test]
fn silence_is_an_error_and_an_answer_ends_it() {
    let mut bench = Bench::new();
    bench.run(500, &FAILSAFE);
    bench.model.answers = false;
    let failure = bench.failure(CHECK_EVERY, &FAILSAFE);
    assert!(matches!(failure, ActuatorError::Silent { .. }), "{failure}");
    bench.model.reset();
    for _ in 0..400 {
        bench.write(&FAILSAFE).unwrap_err();
    }
    let set = bench.model.micros();
    assert_eq!(
        set,
        [1510.0, 1300.0],
        "a silent board is also sent failsafe"
    );
    bench.model.answers = true;
    bench.recovery(&FAILSAFE);
    bench.run(1000, &FAILSAFE);
}

#[test]
fn a_pause_without_requests_is_not_silence() {
    let mut bench = Bench::new();
    for index in 0..40 {
        bench.model.answers = index % 3 != 0;
        bench.millis += 1600;
        bench.write(&FAILSAFE).unwrap();
    }
}

#[test]
fn garbage_in_the_line_moves_nothing_and_is_no_answer() {
    let mut bench = Bench::new();
    bench.run(500, &FAILSAFE);
    let mut noise = 1_u32;
    let mut silent = 0;
    for _ in 0..1000 {
        let bytes: [u8; 7] = std::array::from_fn(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        });
        bench.model.end.write_all(&bytes).unwrap();
        match bench.write(&FAILSAFE) {
            Err(ActuatorError::Silent { .. }) => silent += 1,
            written => written.unwrap(),
        }
        assert_eq!(bench.model.micros(), [1510.0, 1300.0]);
    }
    assert!(silent > 500, "{silent}");
    bench.recovery(&FAILSAFE);
    bench.run(1000, &FAILSAFE);
}

/// For example bytes that were in flight when the port was opened.
#[test]
fn a_burst_of_garbage_is_not_a_failure() {
    for noise in [
        vec![0x20],
        vec![0x20; 5],
        vec![0xFF; 6],
        vec![0; 7],
        vec![0xAA; 3000],
    ] {
        for offset in [0, 5, 25, 45] {
            let mut bench = Bench::new();
            bench.run(500 + offset, &FAILSAFE);
            bench.model.end.write_all(&noise).unwrap();
            bench.run(1000, &FAILSAFE);
        }
    }
}

/// For example the late answer to an earlier request.
#[test]
fn one_wrong_answer_is_not_a_failure() {
    let mut bench = Bench::new();
    bench.run(500, &FAILSAFE);
    for _ in 0..20 {
        bench.model.answers = false;
        bench.run(50, &FAILSAFE);
        // In place of the answer, and of its length.
        bench.model.end.write_all(&[0, 0, 1, 2, 3, 4]).unwrap();
        bench.model.answers = true;
        bench.run(200, &FAILSAFE);
    }
}

/// Between two attempts on a failed board there may be more time than its own time-out.
#[test]
fn a_time_out_between_attempts_is_not_another_failure() {
    let mut bench = Bench::new();
    bench.run(500, &FAILSAFE);
    bench.model.raise(TIME_OUT);
    let _ = bench.failure(CHECK_EVERY, &FAILSAFE);
    let mut attempts = 0;
    loop {
        bench.model.raise(TIME_OUT);
        attempts += 1;
        if bench.write(&FAILSAFE).is_ok() {
            break;
        }
        assert!(attempts < 200);
    }
    bench.run(1000, &FAILSAFE);
    assert_eq!(bench.model.micros(), [1510.0, 1300.0]);
}

#[test]
fn an_unplugged_board_is_an_error_and_is_opened_again() {
    let mut bench = Bench::new();
    bench.run(500, &output(Mode::Drive, 0.0, 1.0));
    // Its end of the port closes, and the link stays.
    let (end, _) = pair();
    drop(std::mem::replace(&mut bench.model.end, end));
    for millis in (505..1000).step_by(5) {
        let error = bench.maestro.write(at(millis), &FAILSAFE).unwrap_err();
        assert!(
            matches!(
                error,
                ActuatorError::Write { .. } | ActuatorError::Gone { .. }
            ),
            "{error}"
        );
    }
    // It comes back as another device under the same link.
    bench.model = Model::plug(&bench.port);
    bench.millis = 1000;
    bench.recovery(&FAILSAFE);
    assert!(bench.millis <= 1330, "{}", bench.millis);
    assert_eq!(bench.model.micros(), [1510.0, 1300.0]);
    bench.run(1000, &FAILSAFE);
    // The port is locked again.
    Maestro::open(&settings(&bench.port), Duration::ZERO).unwrap_err();
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

/// Two ends of a pseudo-terminal that no driver uses.
fn pair() -> (File, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Model::plug(&folder.path().join("unused")).end, folder)
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
fn a_speed_controller_is_armed_again_after_a_failure() {
    let mut bench = Bench::with(|port| {
        let mut settings = settings(port);
        settings.throttle.arming = vec![ArmingStep { us: 1200, ms: 100 }];
        settings
    });
    let drive = output(Mode::Drive, 0.0, 0.5);
    bench.run(50, &drive);
    assert_eq!(bench.model.micros()[0], 1200.0);
    bench.run(200, &drive);
    assert_eq!(bench.model.micros()[0], 1755.0);
    // Its pulses have stopped.
    bench.model.raise(TIME_OUT);
    let _ = bench.failure(CHECK_EVERY, &drive);
    bench.recovery(&FAILSAFE);
    bench.run(50, &drive);
    assert_eq!(bench.model.micros()[0], 1200.0);
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
