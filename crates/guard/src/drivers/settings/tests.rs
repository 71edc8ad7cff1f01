//! Tables that crates/guard/tests/actuator_settings does not have: the bridge, motors on a second
//! chip, the brake, and a VESC's speed.

use pilotage_config::Source;
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
struct Car {
    actuator: ActuatorSettings,
}

fn load(text: &str) -> Result<ActuatorSettings, String> {
    let source = Source::new("car.toml", text);
    let car: Car = source.parse().map_err(|error| error.to_string())?;
    match car.actuator.check(&source) {
        Ok(()) => Ok(car.actuator),
        Err(error) => Err(error.to_string()),
    }
}

const BRIDGE: &str = r#"[actuator]
kind = "bridge"
[actuator.bridge]
port = "/dev/serial/by-id/usb-Pilotage-if00"
[actuator.bridge.steering]
left_us = 1100
centre_us = 1500
right_us = 1900
failsafe_us = 1500
disarmed_us = 0
[actuator.bridge.throttle]
ahead_us = 2000
neutral_us = 1500
reverse_us = 1500
failsafe_us = 1500
disarmed_us = 0
brake = { us = 1200, ms = 400 }
"#;

const TWO_CHIPS: &str = r#"[actuator]
kind = "pca9685"
[actuator.pca9685]
bus = "/dev/i2c-1"
frequency = 50
[actuator.pca9685.steering]
channel = 0
left_us = 1988
centre_us = 1500
right_us = 1012
failsafe_us = 1500
disarmed_us = 1500
[actuator.pca9685.motors]
address = 0x60
frequency = 1526
failsafe = "coast"
disarmed = "coast"
outputs = [{ pwm = 0, ahead = 1, back = 2 }, { ahead = 4, back = 3 }]
"#;

const VESC: &str = r#"[actuator]
kind = "vesc"
[actuator.vesc]
port = "/dev/serial/by-id/usb-vesc-if00"
full_erpm = -23250
failsafe_brake_a = 5.0
disarmed_brake_a = 0.0
left = 0.1
centre = 0.5
right = 0.9
failsafe = 0.5
disarmed = 0.5
"#;

/// The settings, the bridge and the policy have one limit of the brake.
#[test]
fn the_longest_brake_is_that_of_the_policy() {
    use crate::{Limits, LimitsSpec};
    let of = |millis: u16| {
        let brake = std::time::Duration::from_millis(millis.into());
        Limits::new(LimitsSpec {
            brake,
            ..LimitsSpec::simulated()
        })
    };
    assert!(of(pilotage_bridge::LONGEST_BRAKE).is_ok());
    assert!(of(pilotage_bridge::LONGEST_BRAKE + 1).is_err());
}

#[test]
fn the_tables_are_accepted_and_have_their_defaults() {
    let bridge = load(BRIDGE).unwrap();
    assert_eq!(bridge.kind.domain(), Domain::Physical);
    assert_eq!(
        bridge.describe(),
        "bridge on /dev/serial/by-id/usb-Pilotage-if00"
    );
    assert_eq!(bridge.brake(), std::time::Duration::from_millis(400));
    assert_eq!(bridge.delay(), std::time::Duration::from_millis(20));
    let table = bridge.bridge.unwrap();
    assert_eq!((table.baud, table.throttle.arming.len()), (115_200, 0));
    assert_eq!(
        load(TWO_CHIPS).unwrap().brake(),
        std::time::Duration::ZERO,
        "motors have their own brake"
    );
    assert_eq!(load(VESC).unwrap().vesc.unwrap().full_erpm, Some(-23_250.0));
}

#[test]
fn invalid_values_are_refused_by_their_key() {
    for (good, from, to, key, reason) in [
        (
            BRIDGE,
            "reverse_us = 1500",
            "reverse_us = 1000",
            "`actuator.bridge.throttle.brake`",
            "forward/brake mode",
        ),
        (
            BRIDGE,
            "{ us = 1200",
            "{ us = 1600",
            "`actuator.bridge.throttle.brake`",
            "does not brake",
        ),
        (
            BRIDGE,
            "{ us = 1200",
            "{ us = 1500",
            "`actuator.bridge.throttle.brake`",
            "does not brake",
        ),
        (
            BRIDGE,
            "{ us = 1200",
            "{ us = 399",
            "`actuator.bridge.throttle.brake`",
            "400",
        ),
        (BRIDGE, "ms = 400", "ms = 2001", "brake.ms`", "2000"),
        (BRIDGE, "ms = 400", "ms = 0", "brake.ms`", "2000"),
        (
            BRIDGE,
            "port = \"/dev",
            "port = \"dev",
            "`actuator.bridge.port`",
            "whole path",
        ),
        (
            BRIDGE,
            "left_us = 1100",
            "left_us = 1100\nchannel = 3",
            "channel",
            "unknown key",
        ),
        (
            BRIDGE,
            "centre_us = 1500",
            "centre_us = 2000",
            "`actuator.bridge.steering.centre_us`",
            "between",
        ),
        (
            TWO_CHIPS,
            "address = 0x60",
            "address = 0x40",
            "`actuator.pca9685.motors.address`",
            "servo's chip",
        ),
        (
            TWO_CHIPS,
            "address = 0x60",
            "address = 0x70",
            "`actuator.pca9685.motors.address`",
            "all such chips",
        ),
        (
            TWO_CHIPS,
            "frequency = 1526",
            "frequency = 1600",
            "`actuator.pca9685.motors.frequency`",
            "1526",
        ),
        (
            TWO_CHIPS,
            "failsafe = \"coast\"",
            "failsafe = \"brake\"",
            "`actuator.pca9685.motors.failsafe`",
            "full speed",
        ),
        (
            TWO_CHIPS,
            "ahead = 4",
            "ahead = 1",
            "`actuator.pca9685.motors`",
            "channel 1 is used twice",
        ),
        (
            TWO_CHIPS,
            "ahead = 4",
            "ahead = 16",
            "`actuator.pca9685.motors`",
            "no channel 16",
        ),
        (
            TWO_CHIPS,
            "[{ pwm = 0, ahead = 1, back = 2 }, { ahead = 4, back = 3 }]",
            "[]",
            "`actuator.pca9685.motors.outputs`",
            "1 to 4",
        ),
        (
            TWO_CHIPS,
            "frequency = 50\n",
            "frequency = 50\noutput_enable = { chip = \"/dev/gpiochip0\", line = 1 }\n",
            "`actuator.pca9685.output_enable`",
            "one chip",
        ),
        (
            VESC,
            "full_erpm = -23250",
            "full_erpm = 100001",
            "`actuator.vesc.full_erpm`",
            "100000",
        ),
        (
            VESC,
            "full_erpm = -23250",
            "full_erpm = 1000\nfull_duty = 0.5",
            "`actuator.vesc`",
            "either",
        ),
        (
            VESC,
            "full_erpm = -23250\n",
            "",
            "`actuator.vesc`",
            "either",
        ),
    ] {
        let text = good.replace(from, to);
        assert_ne!(text, good, "{from}");
        let message = load(&text).unwrap_err();
        assert!(
            message.contains(key) && message.contains(reason),
            "{to}: {message}"
        );
    }
    // Neither without steering, nor beside a speed controller.
    let (head, motors) = TWO_CHIPS.split_once("[actuator.pca9685.motors]").unwrap();
    let (chip, _) = head.split_once("[actuator.pca9685.steering]").unwrap();
    let alone = format!("{chip}[actuator.pca9685.motors]{motors}");
    assert!(load(&alone).unwrap_err().contains("needs either"));
}

/// A guard that drives sends 36,000 bits per second.
#[test]
fn a_line_that_is_slower_than_the_commands_is_refused() {
    for (good, key) in [(BRIDGE, "bridge"), (VESC, "vesc")] {
        for (baud, accepted) in [
            (9_600, false),
            (38_400, false),
            (57_600, true),
            (115_200, true),
            (921_600, true),
            (100_000, false),
        ] {
            let to = format!("if00\"\nbaud = {baud}\n");
            let text = good.replace("if00\"\n", &to);
            assert_ne!(text, good);
            match load(&text) {
                Ok(_) => assert!(accepted, "{key}: {baud}"),
                Err(message) => {
                    assert!(!accepted, "{message}");
                    assert!(
                        message.contains(&format!("`actuator.{key}.baud`")),
                        "{message}"
                    );
                    assert!(message.contains("57600"), "{message}");
                }
            }
        }
    }
}

/// A controller whose reverse is below its neutral brakes on that side, and one the other way round
/// on the other.
#[test]
fn a_brake_is_on_the_other_side_than_ahead() {
    let inverted = BRIDGE
        .replace("ahead_us = 2000", "ahead_us = 1000")
        .replace("{ us = 1200", "{ us = 1800");
    assert!(load(&inverted).is_ok());
}
