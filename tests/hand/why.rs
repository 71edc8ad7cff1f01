//! `pilotage why` after a stop that needs a gamepad, or motors that are PWM pins.

use super::*;

/// Drives by hand until the car moves. The logs are beside the car.
fn moving() -> (Car, Pad, Running) {
    let car = Car::pins();
    let mut pad = car.pad();
    let mut command = car.command(&["drive", "--by-hand"]);
    command.env("XDG_STATE_HOME", car.folder.path());
    let drive = Running::start(command);
    car.wait_for("disarmed");
    car.arm(&mut pad);
    pad.hold(DEAD_MAN);
    pad.full_left_and_ahead();
    car.wait_pulses(&mut pad, GOING);
    (car, pad, drive)
}

/// Ends the drive, and returns what `pilotage why` prints.
fn why(car: &Car, drive: Running) -> String {
    drive.kill(Signal::TERM);
    let (_, log) = drive.end();
    let mut why = Command::new(PILOTAGE);
    let why = why.arg("why").env("XDG_STATE_HOME", car.folder.path());
    let why = out(&why.output().unwrap());
    assert!(why.contains("driven by"), "{why}{log}");
    why
}

#[test]
fn a_gamepad_that_is_gone_is_named() {
    let (car, pad, drive) = moving();
    drop(pad);
    car.wait_for("stopped: the gamepad is gone");
    let why = why(&car, drive);
    assert!(why.contains("because   the gamepad is gone"), "{why}");
    // Full left, and the guard's limit of the throttle.
    assert!(why.contains("asked steering +1.00 throttle"), "{why}");
    assert!(why.contains("before: driving, granted steering +"), "{why}");
}

/// A setting of a pin is not as it was written, as after a loss of power.
#[test]
fn a_bus_that_took_no_write_is_named() {
    let (car, mut pad, drive) = moving();
    let setting = car.folder.path().join("pwmchip0/pwm1/enable");
    fs::write(setting, "0\n").unwrap();
    wait("the fault is found", || {
        pad.jitter();
        car.status()
            .starts_with("stopped: the actuator did not take a write")
    });
    let why = why(&car, drive);
    assert!(
        why.contains("because   the motors' bus did not take a write"),
        "{why}"
    );
}

#[test]
fn a_stop_button_is_an_operators_stop() {
    let (car, mut pad, drive) = moving();
    pad.press(STOP);
    car.wait_for("stopped: an operator stopped the car");
    let why = why(&car, drive);
    assert!(
        why.contains("stopped   an operator stopped the car"),
        "{why}"
    );
    assert!(why.contains("end       stopped by a signal"), "{why}");
}
