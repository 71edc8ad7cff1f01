//! `[actuator]` of car.toml: what is accepted, what is rejected, and the error messages.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod further;
mod rejected;
mod tables;

use pilotage_config::{ConfigError, Source};
use pilotage_guard::drivers::{ActuatorSettings, Kind};
use pilotage_guard::{GuardedCar, Identity, Point, TrimTable};
use proptest::prelude::*;
use serde::Deserialize;
use tables::{BRIDGE, MOTORS, SERVO, TWO_CHIPS, VESC, maestro, pins, vesc_by_speed};

#[derive(Debug, Deserialize)]
struct Car {
    actuator: ActuatorSettings,
}

fn load(text: &str) -> Result<ActuatorSettings, ConfigError> {
    let source = Source::new("car.toml", text);
    let car: Car = source.parse()?;
    car.actuator.check(&source)?;
    Ok(car.actuator)
}

#[test]
fn a_valid_table_of_each_kind_is_accepted() {
    let (pins, maestro, by_speed) = (pins(), maestro(), vesc_by_speed());
    for (text, kind) in [
        (SERVO, Kind::Pca9685),
        (MOTORS, Kind::Pca9685),
        (TWO_CHIPS, Kind::Pca9685),
        (VESC, Kind::Vesc),
        (&by_speed, Kind::Vesc),
        (BRIDGE, Kind::Bridge),
        (&pins, Kind::Pwm),
        (&maestro, Kind::Maestro),
        ("[actuator]\nkind = \"dry-run\"", Kind::DryRun),
        ("[actuator]", Kind::Simulator),
    ] {
        assert_eq!(load(text).unwrap().kind, kind);
    }
}

/// The defaults that docs/car.md lists.
#[test]
fn missing_keys_have_their_defaults() {
    let text = SERVO.replace("arming = [{ us = 1510, ms = 500 }]\n", "");
    assert_ne!(text, SERVO);
    let chip = load(&text).unwrap().pca9685.unwrap();
    assert_eq!((chip.address, chip.oscillator), (0x40, 25e6));
    assert_eq!(chip.output_enable, None);
    assert_eq!(chip.throttle.unwrap().arming, []);
    assert_eq!(load(VESC).unwrap().vesc.unwrap().baud, 115_200);
}

proptest! {
    #[test]
    fn no_text_causes_a_panic(text in "\\PC{0,200}") {
        let _ = load(&text);
        let _ = load(&format!("{SERVO}{text}"));
    }

    #[test]
    fn no_value_causes_a_panic(
        which in 0..6_usize, line in 0..20_usize,
        value in prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            any::<u16>().prop_map(|n| n.to_string()),
            any::<f32>().prop_map(|n| format!("{n:?}").to_lowercase()),
            Just("[]".to_owned()), Just("\"\"".to_owned()), Just("{}".to_owned()),
        ]
    ) {
        let by_speed = vesc_by_speed();
        let text = [SERVO, MOTORS, VESC, &by_speed, BRIDGE, TWO_CHIPS][which];
        let changed: String = text
            .lines()
            .enumerate()
            .map(|(at, text)| match text.split_once(" = ") {
                Some((key, _)) if at == line => format!("{key} = {value}\n"),
                _ => format!("{text}\n"),
            })
            .collect();
        if let Ok(settings) = load(&changed) {
            let _ = settings.delay();
        }
    }
}

#[test]
fn a_write_takes_one_cycle_to_act() {
    let delay = |text: &str| load(text).unwrap().delay();
    let cycle = |frequency: f32| std::time::Duration::from_secs_f32(1.0 / frequency);
    assert_eq!(delay(SERVO), cycle(60.0));
    assert_eq!(delay(&pins()), cycle(60.0));
    assert_eq!(delay(MOTORS), cycle(1500.0));
    for text in [VESC, "[actuator]\nkind = \"dry-run\"", "[actuator]"] {
        assert!(delay(text).is_zero(), "{text}");
    }
}

#[test]
fn a_pulse_is_shorter_than_the_cycle() {
    let text = |frequency: u32, micros: u32| {
        pins()
            .replace("frequency = 60", &format!("frequency = {frequency}"))
            .replace("ahead_us = 2000", &format!("ahead_us = {micros}"))
    };
    load(&text(400, 2499)).unwrap();
    let error = load(&text(400, 2500)).unwrap_err().to_string();
    assert!(
        error.contains("ahead_us`: 2500 us do not fit into the 2500 us of a cycle"),
        "{error}"
    );
}

#[test]
fn pins_of_two_chips_may_have_one_channel() {
    let same = pins().replace("channel = 1", "channel = 0");
    let error = load(&same).unwrap_err().to_string();
    assert!(error.contains("channel 0 is used twice"), "{error}");
    let second = same.replace(
        "throttle_pin.chip = \"/sys/class/pwm/pwmchip0\"",
        "throttle_pin.chip = \"/sys/class/pwm/pwmchip1\"",
    );
    assert_ne!(second, same);
    load(&second).unwrap();
}

/// Arming pulses are not limited by the throttle's `max`, so none of them may drive the car ahead,
/// whichever side of neutral that is.
#[test]
fn arming_pulses_are_few_short_and_never_ahead() {
    let with = |steps: &str, ends: (u32, u32)| {
        let text = SERVO
            .replace("arming = [{ us = 1510, ms = 500 }]", steps)
            .replace("ahead_us = 2000", &format!("ahead_us = {}", ends.0))
            .replace("reverse_us = 1000", &format!("reverse_us = {}", ends.1));
        load(&text).map(|settings| settings.pca9685.unwrap().throttle.unwrap())
    };
    let (usual, turned) = ((2000, 1000), (1000, 2000));
    for (us, ends, accepted) in [
        (1510, usual, true),
        (1509, usual, true),
        (1511, usual, false),
        (1510, turned, true),
        (1511, turned, true),
        (1509, turned, false),
    ] {
        let result = with(&format!("arming = [{{ us = {us}, ms = 500 }}]"), ends);
        assert_eq!(result.is_ok(), accepted, "{us} {ends:?}");
        if let Err(error) = result {
            let error = error.to_string();
            assert!(error.contains("would drive the car ahead"), "{error}");
        }
    }
    let steps = |count: usize, ms: u32| {
        let step = format!("{{ us = 1510, ms = {ms} }}");
        with(
            &format!("arming = [{}]", vec![step; count].join(", ")),
            usual,
        )
    };
    assert_eq!(steps(4, 2500).unwrap().arming.len(), 4);
    let error = steps(5, 1).unwrap_err().to_string();
    assert!(error.contains("at most 4 steps"), "{error}");
    let error = steps(4, 2501).unwrap_err().to_string();
    assert!(error.contains("within 10 s"), "{error}");
}

/// The charge pump of docs/hardware.md is calculated for a beat each 5 ms: a thirtieth of the
/// deadline.
#[test]
fn a_pulsed_pin_needs_a_short_deadline() {
    let text = SERVO.replace(
        "frequency = 60",
        "frequency = 60\noutput_enable = { chip = \"/dev/gpiochip0\", line = 7, pulse = true }",
    );
    assert_ne!(text, SERVO);
    let car = |deadline: u32| {
        let guard = format!("[camera]\nrate = 30\n[guard]\ndeadline_ms = {deadline}\n{text}");
        GuardedCar::from_toml("car.toml", &guard)
    };
    let chip = car(150).unwrap().actuator.pca9685.unwrap();
    assert!(chip.output_enable.unwrap().pulse);
    let error = car(151).unwrap_err().to_string();
    assert!(error.contains("`guard.deadline_ms`: is 151 ms"), "{error}");
    let usual = GuardedCar::from_toml("car.toml", &text).unwrap();
    assert_eq!(usual.limits.spec().deadline.as_millis(), 150);
    let slow = format!("[camera]\nrate = 10\n{text}");
    assert!(GuardedCar::from_toml("car.toml", &slow).is_err());
}

/// The settings that pilot and guard must agree on, and the points that `pilotage trim` sets.
#[test]
fn a_maestro_is_part_of_the_identity_and_can_be_trimmed() {
    let text = maestro();
    let identity = |text: &str| Identity::of_file(&Source::new("car.toml", text)).unwrap();
    let port = identity(&text);
    assert_eq!(
        port.get("actuator.maestro.port"),
        Some("/dev/serial/by-id/usb-Pololu-if00")
    );
    for (from, to, key) in [
        ("if00", "if01", "actuator.maestro.port"),
        (
            "left_us = 1100",
            "left_us = 1110",
            "actuator.maestro.steering.left_us",
        ),
        (
            "channel = 0",
            "channel = 2",
            "actuator.maestro.throttle.channel",
        ),
    ] {
        let other = identity(&text.replace(from, to));
        let differences = other.differences(&port);
        let [difference] = differences.as_slice() else {
            panic!("{differences:?}");
        };
        assert_eq!(difference.key, key);
    }

    let table = TrimTable::of(&load(&text).unwrap()).unwrap();
    let points: Vec<_> = table
        .points()
        .map(|point| (point, table.value(point), table.key(point).unwrap()))
        .collect();
    let steering = |key| ["actuator", "maestro", "steering", key];
    assert_eq!(
        points,
        [
            (Point::Centre, 1500, steering("centre_us")),
            (Point::Left, 1100, steering("left_us")),
            (Point::Right, 1900, steering("right_us")),
            (
                Point::Neutral,
                1510,
                ["actuator", "maestro", "throttle", "neutral_us"]
            ),
        ]
    );
    assert_eq!(table.range(Point::Left), (400, 2600));
}
