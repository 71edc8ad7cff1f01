//! Failures: an error of the board, another writer, silence, noise, an unplugged board.

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use pilotage_guard::drivers::{ArmingStep, CHECK_EVERY, Maestro};
use pilotage_guard::{Actuator, ActuatorError, Mode};

use crate::model::{Model, PROTOCOL, STEERING, THROTTLE, TIME_OUT};
use crate::outputs::{FAILSAFE, at, output};
use crate::{Bench, settings};

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

/// Two ends of a pseudo-terminal that no driver uses.
fn pair() -> (File, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Model::plug(&folder.path().join("unused")).end, folder)
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
