//! The tables of a bridge, of motors on a second chip, of a brake, and of a VESC by its speed.

use std::time::Duration;

use pilotage_guard::{Limits, LimitsSpec};
use pilotage_vehicle::Domain;

use crate::load;
use crate::tables::{BRIDGE, TWO_CHIPS, vesc_by_speed};

/// The settings, the bridge and the policy have one limit of the brake.
#[test]
fn the_longest_brake_is_that_of_the_policy() {
    let of = |millis: u16| {
        let brake = Duration::from_millis(millis.into());
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
    assert_eq!(bridge.brake(), Duration::from_millis(400));
    assert_eq!(bridge.delay(), Duration::from_millis(20));
    let table = bridge.bridge.unwrap();
    assert_eq!((table.baud, table.throttle.arming.len()), (115_200, 0));
    assert_eq!(
        load(TWO_CHIPS).unwrap().brake(),
        Duration::ZERO,
        "motors have their own brake"
    );
    assert_eq!(
        load(&vesc_by_speed()).unwrap().vesc.unwrap().full_erpm,
        Some(-23_250.0)
    );
}

#[test]
fn invalid_values_are_refused_by_their_key() {
    let vesc = vesc_by_speed();
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
            &vesc,
            "full_erpm = -23250",
            "full_erpm = 100001",
            "`actuator.vesc.full_erpm`",
            "100000",
        ),
        (
            &vesc,
            "full_erpm = -23250",
            "full_erpm = 1000\nfull_duty = 0.5",
            "`actuator.vesc`",
            "either",
        ),
        (
            &vesc,
            "full_erpm = -23250\n",
            "",
            "`actuator.vesc`",
            "either",
        ),
    ] {
        let text = good.replace(from, to);
        assert_ne!(text, good, "{from}");
        let message = load(&text).unwrap_err().to_string();
        assert!(
            message.contains(key) && message.contains(reason),
            "{to}: {message}"
        );
    }
    // Neither without steering, nor beside a speed controller.
    let (head, motors) = TWO_CHIPS.split_once("[actuator.pca9685.motors]").unwrap();
    let (chip, _) = head.split_once("[actuator.pca9685.steering]").unwrap();
    let alone = format!("{chip}[actuator.pca9685.motors]{motors}");
    let message = load(&alone).unwrap_err().to_string();
    assert!(message.contains("needs either"), "{message}");
}

/// A guard that drives sends 36,000 bits per second.
#[test]
fn a_line_that_is_slower_than_the_commands_is_refused() {
    for (good, key) in [(BRIDGE, "bridge"), (&vesc_by_speed(), "vesc")] {
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
                Err(error) => {
                    let message = error.to_string();
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
