//! The car.toml files that ship for well-known cars.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

use pilotage::car::Car;
use pilotage_guard::GuardedCar;
use pilotage_vehicle::Domain;

#[test]
fn each_shipped_car_is_valid_slow_and_physical() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cars");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let car = Car::load(&path).unwrap();
        names.push(car.name.clone());
        let limits = car.limits.spec();
        assert_eq!(limits.actuator, Domain::Physical, "{}", car.name);
        assert!(limits.throttle.max <= 0.2, "{}", car.name);
        assert!(limits.throttle.min >= -0.2, "{}", car.name);
        assert!(car.capture.is_some(), "{}", car.name);
        assert!(car.gamepad.is_some(), "{}", car.name);
        assert_eq!(GuardedCar::load(&path).unwrap(), car.guarded());
    }
    names.sort();
    assert_eq!(names, ["Donkeycar", "F1TENTH", "JetBot", "JetRacer"]);
}

/// The actuator's table of a shipped car file, as written.
fn actuator(file: &str) -> toml_edit::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cars")
        .join(file);
    let document: toml_edit::DocumentMut = fs::read_to_string(path).unwrap().parse().unwrap();
    document["actuator"].as_table().unwrap().clone()
}

/// The number at a path such as `pca9685.steering.left_us`.
fn number(table: &toml_edit::Table, path: &str) -> f64 {
    let mut item = &toml_edit::Item::Table(table.clone());
    for key in path.split('.') {
        item = item.get(key).unwrap_or_else(|| panic!("{path}"));
    }
    let integer = item.as_integer().map(|integer| integer as f64);
    integer.or(item.as_float()).unwrap()
}

fn assert_close(table: &toml_edit::Table, path: &str, expected: f64, tolerance: f64) {
    let found = number(table, path);
    assert!(
        (found - expected).abs() <= tolerance,
        "{path}: {found}, not {expected}"
    );
}

/// NVIDIA's jetbot/motor.py (NVIDIA-AI-IOT/jetbot, 402f348) runs a motor of Adafruit's MotorHAT
/// with `BACKWARD` for a positive value. Adafruit_MotorHAT.py: motor 1 is PWM 8, IN2 9, IN1 10,
/// motor 2 is PWM 13, IN2 12, IN1 11; `BACKWARD` sets IN1 low and IN2 high.
#[test]
fn a_jetbots_motors_turn_as_nvidias_program_turns_them() {
    let jetbot = actuator("jetbot.toml");
    for (motor, pwm, in2, in1) in [("left", 8.0, 9.0, 10.0), ("right", 13.0, 12.0, 11.0)] {
        for (key, channel) in [("pwm", pwm), ("ahead", in2), ("back", in1)] {
            let path = format!("pca9685.differential.{motor}.{key}");
            assert_close(&jetbot, &path, channel, 0.0);
        }
    }
    assert_close(&jetbot, "pca9685.address", 96.0, 0.0);
}

/// NVIDIA's jetracer/nvidia_racecar.py: steering on channel 0 with gain -0.65, throttle on channel
/// 1 with gain 0.8, both through ServoKit's continuous servo, 750 to 2250 us. Its notebook
/// basic_motion.ipynb: "`1` goes fully right, and `-1` fully left".
#[test]
fn a_jetracer_steers_as_nvidias_program_steers_it() {
    let jetracer = actuator("jetracer.toml");
    let pulse = |value: f64| 1500.0 + 750.0 * value;
    let steering = |value: f64| pulse(value * -0.65);
    for (path, expected) in [
        ("pca9685.steering.channel", 0.0),
        ("pca9685.steering.right_us", steering(1.0)),
        ("pca9685.steering.centre_us", steering(0.0)),
        ("pca9685.steering.left_us", steering(-1.0)),
        ("pca9685.throttle.channel", 1.0),
        ("pca9685.throttle.ahead_us", pulse(0.8)),
        ("pca9685.throttle.neutral_us", pulse(0.0)),
        ("pca9685.throttle.reverse_us", pulse(-0.8)),
    ] {
        assert_close(&jetracer, path, expected, 0.5);
    }
}

/// donkeycar/templates/cfg_complete.py, in ticks of 1/4096 of a period at 60 Hz: steering on channel
/// 1, 460 left and 290 right; throttle on channel 0, 500 ahead, 370 stopped, 220 reverse.
#[test]
fn a_donkeycar_has_the_pulses_of_donkeycars_configuration() {
    let donkeycar = actuator("donkeycar.toml");
    let ticks = |ticks: f64| ticks / 4096.0 / 60.0 * 1e6;
    for (path, expected) in [
        ("pca9685.frequency", 60.0),
        ("pca9685.steering.channel", 1.0),
        ("pca9685.steering.left_us", ticks(460.0)),
        ("pca9685.steering.right_us", ticks(290.0)),
        ("pca9685.throttle.channel", 0.0),
        ("pca9685.throttle.ahead_us", ticks(500.0)),
        ("pca9685.throttle.neutral_us", ticks(370.0)),
        ("pca9685.throttle.reverse_us", ticks(220.0)),
    ] {
        assert_close(&donkeycar, path, expected, 0.6);
    }
}

/// f1tenth_system's vesc.yaml: servo = -1.2135 * angle + 0.5304, from 0.15 to 0.85; a positive
/// angle is to the left (REP 103). At most 1 m/s until the operator raises it.
#[test]
fn an_f1tenth_car_steers_by_vesc_yaml_and_starts_slowly() {
    let f1tenth = actuator("f1tenth.toml");
    let car = Path::new(env!("CARGO_MANIFEST_DIR")).join("cars/f1tenth.toml");
    let car = Car::load(&car).unwrap();
    let servo = |angle: f64| (-1.2135 * angle + 0.5304).clamp(0.15, 0.85);
    for (path, expected) in [
        ("vesc.left", servo(0.29)),
        ("vesc.centre", servo(0.0)),
        ("vesc.right", servo(-0.29)),
    ] {
        assert_close(&f1tenth, path, expected, 0.005);
    }
    // The table of the file: 15 m/s at full throttle.
    assert!(car.limits.spec().throttle.max * 15.0 <= 1.0);
}
