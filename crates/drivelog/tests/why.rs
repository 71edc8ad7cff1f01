//! The cause of each kind of stop, from records as a pilot writes them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::time::Duration;

use pilotage_drivelog::{
    Cause, Diagnosis, End, EndKind, Entry, Frame, Input, Inputs, NumberInput, Pause, PauseKind,
    Stage, Start, Window,
};
use pilotage_guard_policy::{Mode, Output, State, StopReason};
use pilotage_tap::{FaultDetail, FrameRecord, Gap, Sensed, flags};
use pilotage_vehicle::{Fault, Measurements, Time};

/// From frame to frame, nanoseconds.
const PERIOD: u64 = 50_000_000;
const MS: u64 = 1_000_000;

/// A drive of 4 s, as a pilot of 20 Hz with a deadline of 150 ms records it.
struct Drive {
    window: Window,
    /// The end of the last iteration, nanoseconds.
    now: u64,
    sequence: u64,
}

impl Drive {
    fn new() -> Self {
        let start = Start {
            version: String::new(),
            car: "a car".to_owned(),
            simulated: false,
            driver: "an engine".to_owned(),
            started_ns: 0,
            epoch_ns: 0,
            deadline_ms: 150.0,
            frame_period_ms: 50.0,
            wheelbase: 0.33,
            steering_range: 0.42,
            speed_to_throttle: Vec::new(),
            whole_drive: false,
            inputs: Inputs::default(),
        };
        let mut drive = Self {
            window: Window::new(start),
            now: 0,
            sequence: 0,
        };
        for _ in 0..80 {
            drive.iteration(|_| ());
        }
        drive
    }

    /// Adds an iteration, with `change` made to its record. A change of the times moves the drive's
    /// clock.
    fn iteration(&mut self, change: impl FnOnce(&mut FrameRecord)) {
        self.sequence += 1;
        let captured = self.now + PERIOD - 8 * MS;
        let mut record = FrameRecord::new(self.sequence, Time::from_nanos(captured));
        record.arrived = captured + 2 * MS;
        (record.vision, record.inference) = (MS, 4 * MS);
        record.sent = 6 * MS;
        record.asked = [0.25, 0.5];
        record.reaction = 9 * MS;
        let output = Output {
            mode: Mode::Drive,
            steering: 0.2,
            throttle: 0.5,
        };
        record.set_guard(driving(), output);
        change(&mut record);
        if record.published == 0 {
            record.published =
                record.arrived + record.sent.max(record.vision + record.inference + MS);
        }
        self.now = record.published;
        self.window
            .add(Entry::Frame(Box::new(Frame::of(&record, 0))));
    }

    fn stop(&mut self, reason: StopReason, change: impl FnOnce(&mut FrameRecord)) {
        self.iteration(|record| {
            let output = Output {
                mode: Mode::Failsafe,
                steering: 0.0,
                throttle: 0.0,
            };
            record.set_guard(State::Stopped { reason }, output);
            change(record);
        });
    }

    /// A fault, and a stop for it as the next iteration reports it.
    fn fault(&mut self, fault: Fault, detail: FaultDetail) {
        self.iteration(|record| failed(record, fault, detail));
        self.stop(StopReason::Fault(fault), |record| {
            failed(record, fault, detail)
        });
    }

    fn end(&mut self, kind: EndKind) {
        self.window.add(Entry::End(End {
            time_ms: self.now as f64 * 1e-6,
            kind,
            text: "the drive's end".to_owned(),
        }));
    }

    fn cause(&self) -> Cause {
        Diagnosis::of(&self.window).cause
    }

    fn text(&self) -> String {
        Diagnosis::of(&self.window).text(&self.window)
    }
}

fn driving() -> State {
    use pilotage_guard_policy::{Driving, Motion};
    let still = Motion {
        value: 0.0,
        target: 0.0,
    };
    State::Driving(Driving {
        armed: Time::ZERO,
        seen: Time::ZERO,
        accepted: Time::ZERO,
        sequence: 0,
        steering: still,
        throttle: still,
    })
}

/// An iteration without a frame.
fn failed(record: &mut FrameRecord, fault: Fault, detail: FaultDetail) {
    record.set_fault(fault, Some(detail));
    record.published = record.arrived;
    (record.arrived, record.vision, record.inference, record.sent) = (0, 0, 0, 0);
}

#[test]
fn a_camera_that_is_late_is_named_with_its_time() {
    let mut drive = Drive::new();
    drive.stop(StopReason::Deadline, |record| {
        record.arrived += 400 * MS;
        record.captured += 390 * MS;
        record.missed = 7;
    });
    let cause = drive.cause();
    let Cause::CameraLate { ms, missed: 7 } = cause else {
        panic!("{cause:?}")
    };
    assert!((440.0..450.0).contains(&ms), "{ms}");
    let text = drive.text();
    assert!(text.contains("late by 400 ms"), "{text}");
    assert!(text.contains("wait for camera"), "{text}");
    assert!(text.lines().count() <= 24, "{text}");
}

/// The camera's own time-out comes before the guard's deadline.
#[test]
fn a_camera_without_frames_is_late() {
    let mut drive = Drive::new();
    drive.iteration(|record| {
        record.arrived += 100 * MS;
        failed(record, Fault::Camera, FaultDetail::NoFrame);
    });
    drive.stop(StopReason::Fault(Fault::Camera), |record| {
        failed(record, Fault::Camera, FaultDetail::NoFrame);
    });
    let cause = drive.cause();
    assert!(
        matches!(cause, Cause::CameraLate { ms, .. } if ms > 150.0),
        "{cause:?}"
    );
}

/// A drive of which the log has nothing usual to compare with.
#[test]
fn what_was_before_is_shown_though_it_is_longer_ago_than_a_second() {
    let mut drive = Drive::new();
    drive.stop(StopReason::Deadline, |record| record.arrived += 3000 * MS);
    let text = drive.text();
    assert!(
        text.contains("before: driving, granted steering +0.20"),
        "{text}"
    );
}

#[test]
fn each_fault_is_named_by_its_detail() {
    for (fault, detail, expected) in [
        (Fault::Camera, FaultDetail::BlackPicture, Cause::CameraBlack),
        (Fault::Camera, FaultDetail::CameraGone, Cause::CameraGone),
        (Fault::Camera, FaultDetail::BadFrame, Cause::BadFrame),
        (
            Fault::FrozenPicture,
            FaultDetail::FrozenPicture,
            Cause::CameraFrozen,
        ),
        (
            Fault::Engine,
            FaultDetail::EngineFailed,
            Cause::EngineFailed,
        ),
        (Fault::Engine, FaultDetail::NotFinite, Cause::NotFinite),
        (Fault::Engine, FaultDetail::NoPath, Cause::NoPath),
        (Fault::Pilot, FaultDetail::GuardSilent, Cause::GuardGone),
    ] {
        let mut drive = Drive::new();
        drive.fault(fault, detail);
        assert_eq!(drive.cause(), expected, "{detail:?}");
    }
    let mut drive = Drive::new();
    drive.fault(Fault::Engine, FaultDetail::EngineLate);
    assert!(
        matches!(drive.cause(), Cause::EngineLate { .. }),
        "{:?}",
        drive.cause()
    );
}

/// An engine that gets speed, yaw rate and a scan, of which only the speed is replaced.
#[test]
fn the_sensor_that_stopped_the_car_is_named_with_the_age_of_its_number() {
    let number = |name, replacement| NumberInput { name, replacement };
    let inputs = Inputs {
        numbers: vec![
            number(Input::Speed, Some(0.0)),
            number(Input::YawRate, None),
        ],
        ..Inputs::default()
    };
    let old = Sensed {
        measured: Measurements::new([None, Some(0.5), None, None]),
        measured_age: Duration::from_millis(312),
        lacking: [true, true, false, false],
        ..Sensed::default()
    };
    let missing = Sensed {
        measured: Measurements::default(),
        ..old
    };
    let blind = Sensed {
        scan_age: Duration::from_millis(450),
        scan_lacking: true,
        ..Sensed::default()
    };
    let (numbers, scans) = (FaultDetail::NoMeasurement, FaultDetail::NoScan);
    for (detail, sensed, scan, expected) in [
        (
            numbers,
            old,
            0,
            "the yaw rate, which the engine gets, was too old: measured 312 ms",
        ),
        (numbers, missing, 0, "no sensor gave the yaw rate"),
        (scans, blind, 0, "the lidar gave no scan"),
        (
            scans,
            blind,
            9,
            "latest scan, which the engine gets, was too old: 450 ms",
        ),
    ] {
        let mut drive = Drive::new();
        drive.window.start.inputs = inputs.clone();
        let lacks = |record: &mut FrameRecord| {
            failed(record, Fault::Pilot, detail);
            record.set_sensed(&sensed);
            record.scan = scan;
        };
        drive.iteration(lacks);
        drive.stop(StopReason::Fault(Fault::Pilot), lacks);
        let text = drive.text();
        assert!(text.contains(expected), "{text}");
        // A simulated drive ends with the fault before the guard's stop is seen.
        let mut ended = Drive::new();
        ended.iteration(lacks);
        ended.end(EndKind::Fault);
        assert!(matches!(
            ended.cause(),
            Cause::NoMeasurement { input: Some(_), .. }
        ));
    }
}

#[test]
fn what_was_replaced_and_a_memory_that_began_anew_are_counted_before_a_stop() {
    let mut drive = Drive::new();
    let replaced = Sensed {
        lacking: [true, false, false, false],
        ..Sensed::default()
    };
    let reset = Sensed {
        gap: Some(Gap::Reset),
        ..Sensed::default()
    };
    for sensed in [replaced, replaced, reset] {
        drive.iteration(|record| record.set_sensed(&sensed));
    }
    drive.stop(StopReason::Operator, |_| ());
    let text = drive.text();
    for expected in [
        "2 commands with a constant in place of the speed",
        "1 new starts of the network's memory",
    ] {
        assert!(text.contains(expected), "{text}");
    }
}

/// A folder's last picture ends the drive; a camera that is lost does not.
#[test]
fn the_end_of_a_folders_pictures_is_not_a_lost_camera() {
    let mut drive = Drive::new();
    drive.fault(Fault::Camera, FaultDetail::CameraGone);
    drive.end(EndKind::Done);
    assert_eq!(drive.cause(), Cause::Ended(EndKind::Done));
    let mut drive = Drive::new();
    drive.fault(Fault::Camera, FaultDetail::CameraGone);
    drive.end(EndKind::Signal);
    assert_eq!(drive.cause(), Cause::CameraGone);
}

#[test]
fn an_engine_that_is_late_is_named_with_its_time() {
    let mut drive = Drive::new();
    drive.stop(StopReason::Deadline, |record| record.inference = 300 * MS);
    assert_eq!(drive.cause(), Cause::EngineLate { ms: 300.0 });
    let diagnosis = Diagnosis::of(&drive.window);
    assert_eq!(diagnosis.late, Some(Stage::Engine));
    let text = drive.text();
    assert!(text.contains("late by 296 ms"), "{text}");
    assert!(text.contains("pilotage bench"), "{text}");
}

/// The stop is seen one iteration after the late one.
#[test]
fn the_late_iteration_is_found_before_the_one_that_saw_the_stop() {
    let mut drive = Drive::new();
    drive.iteration(|record| record.inference = 300 * MS);
    drive.stop(StopReason::Deadline, |_| ());
    assert_eq!(drive.cause(), Cause::EngineLate { ms: 300.0 });
}

#[test]
fn a_gpu_that_fell_back_is_named() {
    let mut drive = Drive::new();
    drive.stop(StopReason::Deadline, |record| {
        record.inference = 300 * MS;
        record.flags |= flags::FALLBACK;
    });
    assert_eq!(drive.cause(), Cause::GpuFellBack { ms: 300.0 });
    assert!(
        drive.text().contains("1 answers of the fallback"),
        "{}",
        drive.text()
    );
}

#[test]
fn other_stages_that_are_late_are_named() {
    for (stage, change) in [
        (
            Stage::Vision,
            (|it| it.vision = 300 * MS) as fn(&mut FrameRecord),
        ),
        (Stage::Sending, |it| it.sent = 305 * MS),
    ] {
        let mut drive = Drive::new();
        drive.stop(StopReason::Deadline, change);
        let ms = 300.0;
        assert_eq!(drive.cause(), Cause::PilotSlow { stage, ms });
    }
}

/// Whatever stage the pause fell into.
#[test]
fn a_pilot_that_was_not_run_is_named_and_not_its_stage() {
    for (kind, change) in [
        (
            PauseKind::Process,
            (|it| it.inference = 300 * MS) as fn(&mut FrameRecord),
        ),
        (PauseKind::Queue, |it| it.arrived += 300 * MS),
    ] {
        let mut drive = Drive::new();
        let start_ms = drive.now as f64 * 1e-6;
        drive.stop(StopReason::Deadline, change);
        let end_ms = drive.now as f64 * 1e-6;
        let cause = drive.cause();
        assert!(!matches!(cause, Cause::PilotNotRun { .. }), "{cause:?}");
        drive.window.add(Entry::Pause(Pause {
            start_ms: start_ms - 10.0,
            end_ms,
            waited_ms: 280.0,
            kind,
        }));
        assert_eq!(drive.cause(), Cause::PilotNotRun { ms: 280.0 });
        let text = drive.text();
        assert!(
            text.contains("280 ms in which the pilot was not run"),
            "{text}"
        );
    }
}

#[test]
fn an_answer_that_is_no_number_is_named() {
    let mut drive = Drive::new();
    for _ in 0..3 {
        drive.iteration(|record| record.asked = [f32::NAN; 2]);
    }
    drive.stop(StopReason::Deadline, |record| record.asked = [f32::NAN; 2]);
    assert_eq!(drive.cause(), Cause::NotFinite);
}

#[test]
fn commands_from_old_frames_are_named() {
    let mut drive = Drive::new();
    for _ in 0..3 {
        drive.iteration(|record| record.captured -= 180 * MS);
    }
    drive.stop(StopReason::Deadline, |record| record.captured -= 180 * MS);
    assert_eq!(drive.cause(), Cause::CommandsOld { ms: 188.0 });
}

#[test]
fn commands_in_time_that_were_not_accepted_were_refused() {
    let mut drive = Drive::new();
    drive.stop(StopReason::Deadline, |_| ());
    assert_eq!(drive.cause(), Cause::CommandsRefused);
    let mut drive = Drive::new();
    drive.stop(StopReason::NoFirstCommand, |_| ());
    assert_eq!(drive.cause(), Cause::NoFirstCommand);
}

#[test]
fn the_guards_own_reasons_are_named() {
    for (reason, expected) in [
        (StopReason::Operator, Cause::Operator),
        (StopReason::ClockWentBack, Cause::ClockWentBack),
        (StopReason::Fault(Fault::Gamepad), Cause::GamepadGone),
        (StopReason::Fault(Fault::Actuator), Cause::BusFailed),
        (StopReason::Fault(Fault::Pilot), Cause::PilotGone),
    ] {
        let mut drive = Drive::new();
        drive.stop(reason, |_| ());
        drive.iteration(|record| {
            let output = Output {
                mode: Mode::Failsafe,
                steering: 0.0,
                throttle: 0.0,
            };
            record.set_guard(State::Stopped { reason }, output);
        });
        drive.end(EndKind::Signal);
        assert_eq!(drive.cause(), expected);
        let text = drive.text();
        assert!(text.contains(&reason.to_string()), "{text}");
        assert!(
            text.contains("granted steering +0.20 throttle +0.50"),
            "{text}"
        );
        assert!(
            text.contains("asked steering +0.25 throttle +0.50"),
            "{text}"
        );
    }
}

#[test]
fn a_drive_without_a_stop_names_its_end() {
    for (kind, expected) in [
        (EndKind::Signal, Cause::Ended(EndKind::Signal)),
        (EndKind::OffRoad, Cause::Ended(EndKind::OffRoad)),
        (EndKind::GuardGone, Cause::GuardGone),
    ] {
        let mut drive = Drive::new();
        assert_eq!(drive.cause(), Cause::StillRunning);
        drive.end(kind);
        assert_eq!(drive.cause(), expected);
    }
}
