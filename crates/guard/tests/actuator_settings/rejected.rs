//! Rejected tables: each error names its line and key, or its table.

use crate::load;
use crate::tables::{BRIDGE, MOTORS, SERVO, TWO_CHIPS, VESC, maestro, pins};

#[test]
fn errors_name_the_line_and_the_key() {
    let (pins, maestro) = (pins(), maestro());
    // Motors without a PWM input, and only one of them.
    let coasting = MOTORS.replace("failsafe = \"brake\"", "failsafe = \"coast\"");
    let one = coasting.replace("pwm = 13, ", "");
    let braked = one.replace("pwm = 8, ", "");
    load(&one).unwrap();
    load(&braked).unwrap();
    load(&braked.replace("ahead = 9", "ahead = 11")).unwrap_err();
    let cases = [
        (SERVO, "bus = \"/dev/i2c-1\"", "bus = \"i2c-1\"", "bus"),
        (SERVO, "frequency = 60", "frequency = 20", "frequency"),
        (SERVO, "frequency = 60", "frequency = nan", "frequency"),
        (
            SERVO,
            "frequency = 60",
            "frequency = 60\naddress = 0x3F",
            "address",
        ),
        (
            SERVO,
            "frequency = 60",
            "frequency = 60\naddress = 0x70",
            "address",
        ),
        (
            SERVO,
            "frequency = 60",
            "frequency = 60\noscillator = 1e6",
            "oscillator",
        ),
        (SERVO, "left_us = 1100", "left_us = 300", "steering.left_us"),
        (
            SERVO,
            "left_us = 1100",
            "left_us = 2700",
            "steering.left_us",
        ),
        (
            SERVO,
            "centre_us = 1500",
            "centre_us = 1950",
            "steering.centre_us",
        ),
        (
            SERVO,
            "centre_us = 1500",
            "centre_us = 1100",
            "steering.centre_us",
        ),
        (
            SERVO,
            "failsafe_us = 1500",
            "failsafe_us = 2000",
            "steering.failsafe_us",
        ),
        (
            SERVO,
            "neutral_us = 1510",
            "neutral_us = 2000",
            "throttle.neutral_us",
        ),
        (
            SERVO,
            "neutral_us = 1510",
            "neutral_us = 900",
            "throttle.neutral_us",
        ),
        (
            SERVO,
            "failsafe_us = 1510",
            "failsafe_us = 1520",
            "throttle.failsafe_us",
        ),
        (SERVO, "ms = 500", "ms = 10001", "throttle.arming"),
        (SERVO, "{ us = 1510", "{ us = 1520", "throttle.arming"),
        (MOTORS, "turn = 0.6", "turn = 1.1", "differential.turn"),
        (
            &braked,
            "failsafe = \"coast\"",
            "failsafe = \"brake\"",
            "differential.failsafe",
        ),
        (
            &one,
            "failsafe = \"coast\"",
            "failsafe = \"brake\"",
            "differential.failsafe",
        ),
        (
            &braked,
            "disarmed = \"coast\"",
            "disarmed = \"brake\"",
            "differential.disarmed",
        ),
        (
            VESC,
            "port = \"/dev/serial/by-id/usb-vesc-if00\"",
            "port = \"ttyACM0\"",
            "port",
        ),
        (VESC, "full_duty = 0.5", "full_duty = 0.96", "full_duty"),
        (VESC, "full_duty = 0.5", "full_duty = 0.5\nbaud = 1", "baud"),
        (
            VESC,
            "full_duty = 0.5",
            "full_duty = 0.5\nerpm_per_mps = 0.0",
            "erpm_per_mps",
        ),
        (
            VESC,
            "failsafe_brake_a = 5.0",
            "failsafe_brake_a = -1.0",
            "failsafe_brake_a",
        ),
        (VESC, "left = 0.1", "left = -0.1", "left"),
        (VESC, "centre = 0.5", "centre = 0.95", "centre"),
        (VESC, "failsafe = 0.5", "failsafe = inf", "failsafe"),
        (&pins, "frequency = 60", "frequency = 500", "frequency"),
        (
            &maestro,
            "port = \"/dev/serial/by-id/usb-Pololu-if00\"",
            "port = \"ttyACM0\"",
            "maestro.port",
        ),
        (
            &maestro,
            "left_us = 1100",
            "left_us = 2700",
            "maestro.steering.left_us",
        ),
        (
            &maestro,
            "failsafe_us = 1510",
            "failsafe_us = 1520",
            "maestro.throttle.failsafe_us",
        ),
    ];
    for (good, from, to, key) in cases {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let error = load(&text).unwrap_err();
        let wrong = to.lines().last().unwrap();
        let line = 1 + text.lines().position(|line| line.contains(wrong)).unwrap();
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("car.toml:{line}: ")),
            "{to}: {message}"
        );
        assert!(message.contains(&format!("{key}`")), "{to}: {message}");
    }
}

#[test]
fn errors_of_a_table_name_the_table() {
    let twice = MOTORS.replace("pwm = 13", "pwm = 8");
    let none = MOTORS.replace("pwm = 13", "pwm = 16");
    let both = format!(
        "{SERVO}{}",
        &MOTORS[MOTORS.find("[actuator.pca9685.d").unwrap()..]
    );
    let missing = "[actuator]\nkind = \"vesc\"";
    let no_board = "[actuator]\nkind = \"maestro\"";
    let maestro = maestro();
    let same = maestro.replace("channel = 1", "channel = 0");
    let beyond = maestro.replace("channel = 1", "channel = 24");
    for (text, key, expected) in [
        (
            twice.as_str(),
            "`actuator.pca9685`",
            "channel 8 is used twice",
        ),
        (&none, "`actuator.pca9685`", "there is no channel 16"),
        (&both, "`actuator.pca9685`", "needs either"),
        (missing, "`actuator.kind`", "[actuator.vesc]"),
        (no_board, "`actuator.kind`", "[actuator.maestro]"),
        (&same, "`actuator.maestro`", "channel 0 is used twice"),
        (&beyond, "`actuator.maestro`", "there is no channel 24"),
    ] {
        let message = load(text).unwrap_err().to_string();
        assert!(message.starts_with("car.toml:"), "{message}");
        assert!(
            message.contains(key) && message.contains(expected),
            "{message}"
        );
    }
}

#[test]
fn every_missing_required_key_is_reported() {
    let (pins, maestro) = (pins(), maestro());
    for text in [SERVO, MOTORS, VESC, &pins, &maestro, BRIDGE, TWO_CHIPS] {
        for (index, line) in text.lines().enumerate() {
            let Some((key, _)) = line.split_once(" = ") else {
                continue;
            };
            if ["kind", "arming", "brake"].contains(&key) {
                continue;
            }
            let without: Vec<_> = text
                .lines()
                .enumerate()
                .filter(|(at, _)| *at != index)
                .collect();
            let without: String = without
                .iter()
                .map(|(_, line)| format!("{line}\n"))
                .collect();
            let message = load(&without).unwrap_err().to_string();
            let named = key.split('.').next().unwrap();
            assert!(message.contains(named), "{key}: {message}");
        }
    }
}
