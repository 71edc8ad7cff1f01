//! `[actuator]` of car.toml: what is accepted, what is rejected, and the error messages.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use pilotage_config::{ConfigError, Source};
use pilotage_guard::drivers::{ActuatorSettings, Kind};
use pilotage_guard::{GuardedCar, Identity, Point, TrimTable};
use proptest::prelude::*;
use serde::Deserialize;

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

const SERVO: &str = r#"[actuator]
kind = "pca9685"
[actuator.pca9685]
bus = "/dev/i2c-1"
frequency = 60
[actuator.pca9685.steering]
channel = 1
left_us = 1100
centre_us = 1500
right_us = 1900
failsafe_us = 1500
disarmed_us = 0
[actuator.pca9685.throttle]
channel = 0
ahead_us = 2000
neutral_us = 1510
reverse_us = 1000
failsafe_us = 1510
disarmed_us = 0
arming = [{ us = 1510, ms = 500 }]
"#;

const MOTORS: &str = r#"[actuator]
kind = "pca9685"
[actuator.pca9685]
bus = "/dev/i2c-1"
frequency = 1500
[actuator.pca9685.differential]
turn = 0.6
failsafe = "brake"
disarmed = "coast"
left = { pwm = 8, ahead = 9, back = 10 }
right = { pwm = 13, ahead = 12, back = 11 }
"#;

const VESC: &str = r#"[actuator]
kind = "vesc"
[actuator.vesc]
port = "/dev/serial/by-id/usb-vesc-if00"
full_duty = 0.5
failsafe_brake_a = 5.0
disarmed_brake_a = 0.0
left = 0.1
centre = 0.5
right = 0.9
failsafe = 0.5
disarmed = 0.5
"#;

/// PWM pins with the same servo and speed controller.
fn pins() -> String {
    let chips = "[actuator.pwm]\nfrequency = 60\n\
                 steering_pin.chip = \"/sys/class/pwm/pwmchip0\"\n\
                 throttle_pin.chip = \"/sys/class/pwm/pwmchip0\"\n[actuator.pca9685.steering]";
    let (_, controls) = SERVO.split_once("[actuator.pca9685.steering]").unwrap();
    let text = format!("[actuator]\nkind = \"pwm\"\n{chips}{controls}");
    text.replace("actuator.pca9685", "actuator.pwm")
}

/// A Maestro with the same servo and speed controller.
fn maestro() -> String {
    let board = "[actuator.maestro]\nport = \"/dev/serial/by-id/usb-Pololu-if00\"\n\
                 [actuator.pca9685.steering]";
    let (_, controls) = SERVO.split_once("[actuator.pca9685.steering]").unwrap();
    let text = format!("[actuator]\nkind = \"maestro\"\n{board}{controls}");
    text.replace("actuator.pca9685", "actuator.maestro")
}

#[test]
fn a_valid_table_of_each_kind_is_accepted() {
    let (pins, maestro) = (pins(), maestro());
    for (text, kind) in [
        (SERVO, Kind::Pca9685),
        (MOTORS, Kind::Pca9685),
        (VESC, Kind::Vesc),
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
    for text in [SERVO, MOTORS, VESC, &pins, &maestro] {
        for (index, line) in text.lines().enumerate() {
            let Some((key, _)) = line.split_once(" = ") else {
                continue;
            };
            if key == "kind" || key == "arming" {
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

proptest! {
    #[test]
    fn no_text_causes_a_panic(text in "\\PC{0,200}") {
        let _ = load(&text);
        let _ = load(&format!("{SERVO}{text}"));
    }

    #[test]
    fn no_value_causes_a_panic(
        which in 0..3_usize, line in 0..20_usize,
        value in prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            any::<u16>().prop_map(|n| n.to_string()),
            any::<f32>().prop_map(|n| format!("{n:?}").to_lowercase()),
            Just("[]".to_owned()), Just("\"\"".to_owned()), Just("{}".to_owned()),
        ]
    ) {
        let text = [SERVO, MOTORS, VESC][which];
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
