//! A gamepad with a physical or the simulated car: driving by hand, arm and stop while an engine
//! drives, and recording.
//! The gamepad is a substitute: a pipe with the kernel's event records. The motors are PWM pins
//! that are files, or a dry run.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests print their measurements"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

#[path = "../support/film.rs"]
mod film;
mod harness;
mod page;
#[path = "../support/pins.rs"]
mod pins;
mod recording;
#[path = "../support/running.rs"]
#[allow(
    dead_code,
    reason = "these tests have their own type for a running program"
)]
mod running;
mod why;

use harness::{AT_ONCE, Car, Pad, Running, wait, wait_at_most};
use pins::FAILSAFE;
use running::{out, wait_for};

const PILOTAGE: &str = env!("CARGO_BIN_EXE_pilotage");

const SYN: u16 = 0;
const KEY: u16 = 1;
const ABS: u16 = 3;
const REPORT: (u16, u16, i32) = (SYN, 0, 0);
const DROPPED: (u16, u16, i32) = (SYN, 3, 0);

const STEERING: u16 = 0;
const OTHER_AXIS: u16 = 1;
const THROTTLE: u16 = 4;
const STOP: u16 = 0x131;
const DEAD_MAN: u16 = 0x136;
const ARM: u16 = 0x13b;

/// Sticks at rest.
const CENTRE: [(u16, u16, i32); 2] = [(ABS, STEERING, 0), (ABS, THROTTLE, 0)];
/// Full left and full ahead.
const GO: [(u16, u16, i32); 2] = [(ABS, STEERING, -32768), (ABS, THROTTLE, -32768)];
const NEUTRAL: [u32; 2] = [1_500_000, 1_500_000];
/// Full left, and a fifth of full ahead.
const GOING: [u32; 2] = [1_900_000, 1_600_000];

/// Checks for a while that nothing moves, whatever the gamepad reports.
fn stays(car: &Car, pad: &mut Pad, pulses: [u32; 2]) {
    for _ in 0..40 {
        pad.jitter();
        assert_eq!(car.pulses(), pulses);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_operator_moves_the_car_while_the_dead_man_button_is_held() {
    let car = Car::pins();
    let mut pad = car.pad();
    let drive = car.run(&["drive", "--by-hand"]);
    car.wait_for("disarmed");
    pad.send(&GO);
    pad.hold(DEAD_MAN);
    stays(&car, &mut pad, [0, 0]);

    // Armed with deflected sticks, the car waits until they are at rest.
    car.arm(&mut pad);
    car.wait_pulses(&mut pad, NEUTRAL);
    stays(&car, &mut pad, NEUTRAL);
    pad.full_left_and_ahead();
    car.wait_pulses(&mut pad, GOING);
    pad.release(DEAD_MAN);
    wait_at_most(AT_ONCE, "released, it is at rest", || {
        car.pulses() == NEUTRAL
    });
    assert!(car.status().starts_with("driving"), "it is only at rest");
    // The same if the dead-man button is pressed with deflected sticks.
    pad.hold(DEAD_MAN);
    stays(&car, &mut pad, NEUTRAL);
    pad.full_left_and_ahead();
    car.wait_pulses(&mut pad, GOING);

    // The stick is still and the button is held: nothing is reported for 500 ms.
    let silent = Instant::now();
    wait("silent, it is at rest", || car.pulses() == NEUTRAL);
    let stopped_after = silent.elapsed();
    println!("silent for {stopped_after:?} when it stopped");
    let promised = Duration::from_millis(450)..Duration::from_millis(700);
    assert!(promised.contains(&stopped_after), "{stopped_after:?}");
    car.wait_pulses(&mut pad, GOING);

    pad.press(STOP);
    wait_at_most(AT_ONCE, "stopped", || car.pulses() == FAILSAFE);
    car.wait_for("stopped: an operator stopped the car");
    stays(&car, &mut pad, FAILSAFE);
    car.arm(&mut pad);
    car.wait_pulses(&mut pad, NEUTRAL);
    stays(&car, &mut pad, NEUTRAL);
    pad.full_left_and_ahead();
    car.wait_pulses(&mut pad, GOING);
    drive.kill(Signal::TERM);
    let (ended, log) = drive.end();
    assert!(ended.status.success(), "{log}");
    assert!(log.contains("the car is disarmed"), "{log}");
    let works = log.find("stop button works");
    let untested = log.find("stop button not tested: press it once (BTN_EAST)");
    assert!(untested < works && untested.is_some(), "{log}");
    let report = out(&ended);
    assert!(!report.contains("its stop button not tested"), "{report}");
    assert_eq!(car.pulses(), [0, 0]);
}

#[test]
fn a_held_stop_button_arms_nothing_and_moves_nothing() {
    let car = Car::pins();
    let mut pad = car.pad();
    let mut drive = car.run(&["drive", "--by-hand"]);
    car.wait_for("disarmed");
    car.arm(&mut pad);
    pad.hold(DEAD_MAN);
    pad.full_left_and_ahead();
    car.wait_pulses(&mut pad, GOING);
    pad.hold(STOP);
    wait_at_most(AT_ONCE, "stopped", || car.pulses() == FAILSAFE);
    for _ in 0..3 {
        pad.press(ARM);
        drive.wait_for_message("not armed: the stop button is held");
        pad.full_left_and_ahead();
        stays(&car, &mut pad, FAILSAFE);
    }
    pad.release(STOP);
    stays(&car, &mut pad, FAILSAFE);
    assert!(
        car.status()
            .starts_with("stopped: an operator stopped the car")
    );
    car.arm(&mut pad);
    pad.full_left_and_ahead();
    car.wait_pulses(&mut pad, GOING);
}

/// A stop button that is held when the gamepad is opened.
#[test]
fn a_stop_button_held_at_the_start_counts_as_held() {
    let car = Car::pins();
    let mut pad = Pad::open(&car.folder.path().join("pad"));
    pad.send(&[(KEY, STOP, 1), CENTRE[0], CENTRE[1]]);
    let mut drive = car.run(&["drive", "--by-hand"]);
    drive.wait_for_message("stop button not tested");
    pad.press(ARM);
    drive.wait_for_message("not armed: the stop button is held");
    let status = car.status();
    assert!(
        status.starts_with("disarmed") || status.starts_with("stopped"),
        "{status}"
    );
    drive.kill(Signal::TERM);
    let (ended, log) = drive.end();
    assert!(!log.contains("stop button works"), "{log}");
    assert!(out(&ended).contains("its stop button not tested"), "{log}");
}

#[test]
fn a_gamepad_that_is_gone_stops_the_car_for_good() {
    let car = Car::pins();
    let mut pad = car.pad();
    let mut drive = car.run(&["drive", "--by-hand"]);
    car.wait_for("disarmed");
    car.arm(&mut pad);
    pad.hold(DEAD_MAN);
    pad.full_left_and_ahead();
    car.wait_pulses(&mut pad, GOING);
    drop(pad);
    wait_at_most(AT_ONCE, "stopped", || car.pulses() == FAILSAFE);
    car.wait_for("stopped: the gamepad is gone");

    let mut pad = car.pad();
    drive.wait_for_message("the gamepad is back");
    // It may be another gamepad: its stop button must be pressed again.
    drive.wait_for_message("stop button not tested");
    pad.hold(DEAD_MAN);
    pad.full_left_and_ahead();
    stays(&car, &mut pad, FAILSAFE);
    car.arm(&mut pad);
    pad.full_left_and_ahead();
    car.wait_pulses(&mut pad, GOING);
}

#[test]
fn buttons_held_at_the_start_arm_and_move_nothing() {
    let car = Car::pins();
    // The gamepad is not found before its first report, which is this one.
    let mut pad = Pad::open(&car.folder.path().join("pad"));
    pad.send(&[(KEY, ARM, 1), (KEY, DEAD_MAN, 1), GO[0], GO[1]]);
    let mut drive = car.run(&["drive", "--by-hand"]);
    car.wait_for("disarmed");
    // Auto-repeat events of a key.
    pad.send(&[(KEY, ARM, 2), (KEY, DEAD_MAN, 2)]);
    stays(&car, &mut pad, [0, 0]);
    assert!(car.status().starts_with("disarmed"));
    drive.wait_for_message("ABS_X rests at its end: it is a trigger");
    drive
        .wait_for_message("ABS_RY rests at its end: it is a trigger; set throttle_rests = \"end\"");
    pad.press(DEAD_MAN);
    pad.release(ARM);
    car.arm(&mut pad);
    car.wait_pulses(&mut pad, NEUTRAL);
    // An axis that was found at its end may be a trigger: passing the middle does not count as
    // rest.
    pad.hold(DEAD_MAN);
    pad.full_left_and_ahead();
    stays(&car, &mut pad, NEUTRAL);
    pad.release(DEAD_MAN);
    pad.send(&CENTRE);
    std::thread::sleep(Duration::from_millis(500));
    pad.hold(DEAD_MAN);
    pad.full_left_and_ahead();
    car.wait_pulses(&mut pad, GOING);

    // Buttons held while events were lost do not count either.
    pad.send(&[DROPPED, (KEY, DEAD_MAN, 0)]);
    pad.send(&[(KEY, DEAD_MAN, 1), GO[0], GO[1]]);
    car.wait_pulses(&mut pad, NEUTRAL);
    stays(&car, &mut pad, NEUTRAL);
    pad.release(DEAD_MAN);
    pad.hold(DEAD_MAN);
    stays(&car, &mut pad, NEUTRAL);
    pad.full_left_and_ahead();
    car.wait_pulses(&mut pad, GOING);
}

#[test]
fn a_frozen_pilot_is_stopped_though_the_button_is_held() {
    let car = Car::pins();
    let mut pad = car.pad();
    let drive = car.run(&["drive", "--by-hand"]);
    car.wait_for("disarmed");
    car.arm(&mut pad);
    pad.hold(DEAD_MAN);
    pad.full_left_and_ahead();
    car.wait_pulses(&mut pad, GOING);
    drive.kill(Signal::STOP);
    // The deadline is 400 ms.
    let limit = Duration::from_millis(600);
    wait_at_most(limit, "stopped", || car.pulses() == FAILSAFE);
    drive.kill(Signal::CONT);
    stays(&car, &mut pad, FAILSAFE);
}

#[test]
fn while_an_engine_drives_its_buttons_arm_and_stop() {
    let car = Car::dry();
    let mut drive = car.run(&["drive", "--json"]);
    drive.wait_for_message("use `pilotage stop` until a gamepad is found");
    car.wait_for("driving");
    let mut pad = car.pad();
    drive.wait_for_message("its buttons arm and stop");
    drive.wait_for_message("stop button not tested: press it once (BTN_EAST)");
    pad.press(STOP);
    drive.wait_for_message("stop button works");
    car.wait_for("stopped: an operator stopped the car");
    car.arm(&mut pad);
    // While it is held, nothing arms.
    pad.hold(STOP);
    car.wait_for("stopped: an operator stopped the car");
    pad.press(ARM);
    drive.wait_for_message("not armed: the stop button is held");
    assert!(
        car.status()
            .starts_with("stopped: an operator stopped the car")
    );
    pad.release(STOP);
    car.arm(&mut pad);
    // The sticks have no effect here, and silence is not a fault.
    std::thread::sleep(Duration::from_millis(700));
    assert!(car.status().starts_with("driving"));
    drop(pad);
    car.wait_for("stopped: the gamepad is gone");
    let _pad = car.pad();
    drive.wait_for_message("its buttons arm and stop");
    assert!(car.status().starts_with("stopped: the gamepad is gone"));
    assert!(car.command(&["arm"]).status().unwrap().success());
    car.wait_for("driving");
}

/// By hand is refused with a pad that is away, and with a car.toml that has none.
fn needs_a_gamepad(car: &Car) {
    let away = car.refused(&["drive", "--by-hand"]);
    assert!(away.contains("plug it in or pair it"), "{away}");
    let text = fs::read_to_string(car.file()).unwrap();
    let without = text.replace("[gamepad]\ndevice = \"pad\"\n", "");
    fs::write(car.file(), without).unwrap();
    let none = car.refused(&["drive", "--by-hand"]);
    assert!(none.contains("car.toml has no [gamepad]"), "{none}");
    fs::write(car.file(), text).unwrap();
}

#[test]
fn without_a_gamepad_driving_by_hand_is_refused() {
    let car = Car::dry();
    needs_a_gamepad(&car);
    let engine = car.refused(&["drive", "--by-hand", "--engine", "pilotnet"]);
    assert!(engine.contains("cannot be used with"), "{engine}");
    let laps = car.refused(&["drive", "--by-hand", "--laps", "2"]);
    assert!(
        laps.contains("--laps applies only to the simulated car"),
        "{laps}"
    );
}

#[test]
fn the_simulated_car_is_driven_by_hand_and_recorded() {
    let car = Car::simulated();
    let mut pad = car.pad();
    let mut record = car.record(&[]);
    record.wait_for_message("driving; the stop button stops the car");
    // The dead-man button is not held: nothing is recorded.
    std::thread::sleep(Duration::from_millis(300));
    assert!(car.rows().is_empty());
    let ahead = |pad: &mut Pad, rows: usize| {
        pad.hold(DEAD_MAN);
        pad.send(&CENTRE);
        pad.send(&[(ABS, THROTTLE, -32768)]);
        wait("it records", || {
            pad.jitter();
            car.rows().len() >= rows
        });
        pad.release(DEAD_MAN);
    };
    ahead(&mut pad, 8);
    pad.hold(STOP);
    record.wait_for_message("stopped: an operator stopped the car; the arm button arms the car");
    pad.press(ARM);
    record.wait_for_message("not armed: the stop button is held");
    pad.release(STOP);
    pad.press(ARM);
    record.wait_for_message("driving; the stop button stops the car");
    let rows = car.rows().len();
    ahead(&mut pad, rows + 8);
    drop(pad);
    record.wait_for_message("stopped: the gamepad is gone");
    let mut pad = car.pad();
    record.wait_for_message("the gamepad is back");
    pad.press(ARM);
    record.wait_for_message("driving; the stop button stops the car");
    record.kill(Signal::TERM);
    let (ended, log) = record.end();
    assert!(ended.status.success(), "{log}");
    assert!(
        log.contains("the car is disarmed, steering 0, throttle 0"),
        "{log}"
    );
    assert!(!log.contains("not done"), "{log}");
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["completed"], false);
    assert_eq!(report["circuit"], "simple");
    assert_eq!(report["guard"]["stops"], 2);
    assert_eq!(report["recording"]["written"], car.rows().len());
    // 16 frames at 20 Hz, at a fifth of 4 m/s.
    let distance = report["metrics"]["distance"].as_f64().unwrap();
    assert!((0.3..5.0).contains(&distance), "{distance}");
    let fastest = car.rows().iter().map(|row| row[5].clone()).max();
    assert_eq!(fastest.as_deref(), Some("0.200000"));
}

#[test]
fn driving_the_simulated_car_by_hand_needs_a_gamepad_and_the_wall_clock() {
    let car = Car::simulated();
    needs_a_gamepad(&car);
    for option in [["--pace", "fast"], ["--latency", "20"]] {
        let clock = car.refused(&[&["drive", "--by-hand"][..], &option].concat());
        assert!(
            clock.contains("leave out --pace fast and --latency"),
            "{clock}"
        );
    }
}
