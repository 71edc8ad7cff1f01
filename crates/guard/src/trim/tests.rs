use pilotage_config::Source;
use serde::Deserialize;

use super::*;
use crate::drivers::DryRun;

#[derive(Deserialize)]
struct Car {
    actuator: ActuatorSettings,
}

fn settings(text: &str) -> ActuatorSettings {
    let source = Source::new("car.toml", text);
    source.parse::<Car>().unwrap().actuator
}

/// Points as in a car.toml: steering 1100, 1500, 1900, throttle 1000, 1510, 2000.
fn servo(kind: &str) -> ActuatorSettings {
    let device = match kind {
        "pca9685" => "bus = \"/dev/i2c-1\"",
        _ => {
            "steering_pin.chip = \"/sys/class/pwm/pwmchip0\"\n\
             throttle_pin.chip = \"/sys/class/pwm/pwmchip1\""
        }
    };
    settings(&format!(
        "[actuator]\nkind = \"{kind}\"\n[actuator.{kind}]\n{device}\nfrequency = 60\n\
         [actuator.{kind}.steering]\nchannel = 1\nleft_us = 1100\ncentre_us = 1500\n\
         right_us = 1900\nfailsafe_us = 1500\ndisarmed_us = 0\n\
         [actuator.{kind}.throttle]\nchannel = 0\nahead_us = 2000\nneutral_us = 1510\n\
         reverse_us = 1000\nfailsafe_us = 1510\ndisarmed_us = 0\n"
    ))
}

fn vesc() -> ActuatorSettings {
    settings(
        "[actuator]\nkind = \"vesc\"\n[actuator.vesc]\nport = \"/dev/serial/by-id/vesc\"\n\
         full_duty = 0.5\nfailsafe_brake_a = 5.0\ndisarmed_brake_a = 0.0\nleft = 0.1236\n\
         centre = 0.5\nright = 0.9\nfailsafe = 0.5\ndisarmed = 0.5\n",
    )
}

fn differential() -> ActuatorSettings {
    settings(
        "[actuator]\nkind = \"pca9685\"\n[actuator.pca9685]\nbus = \"/dev/i2c-1\"\n\
         frequency = 1500\n[actuator.pca9685.differential]\nturn = 0.6\nfailsafe = \"brake\"\n\
         disarmed = \"coast\"\nleft = { pwm = 8, ahead = 9, back = 10 }\n\
         right = { pwm = 13, ahead = 12, back = 11 }\n",
    )
}

/// A servo, and motors on a second chip.
fn bank() -> ActuatorSettings {
    settings(
        "[actuator]\nkind = \"pca9685\"\n[actuator.pca9685]\nbus = \"/dev/i2c-1\"\n\
         frequency = 50\n[actuator.pca9685.steering]\nchannel = 0\nleft_us = 1988\n\
         centre_us = 1500\nright_us = 1012\nfailsafe_us = 1500\ndisarmed_us = 1500\n\
         [actuator.pca9685.motors]\naddress = 0x60\nfrequency = 1526\nfailsafe = \"coast\"\n\
         disarmed = \"coast\"\noutputs = [{ pwm = 0, ahead = 1, back = 2 }]\n",
    )
}

fn points(settings: &ActuatorSettings) -> Vec<(Point, Value, [&'static str; 4])> {
    let table = TrimTable::of(settings).unwrap();
    let row = |point| (point, table.value(point), table.key(point).unwrap());
    table.points().map(row).collect()
}

#[test]
fn a_servo_has_four_points_in_microseconds() {
    for kind in ["pca9685", "pwm"] {
        let settings = servo(kind);
        let rows = [
            (Point::Centre, 1500, "steering", "centre_us"),
            (Point::Left, 1100, "steering", "left_us"),
            (Point::Right, 1900, "steering", "right_us"),
            (Point::Neutral, 1510, "throttle", "neutral_us"),
        ];
        let expected =
            rows.map(|(point, value, table, key)| (point, value, ["actuator", kind, table, key]));
        assert_eq!(points(&settings), expected);
        let table = TrimTable::of(&settings).unwrap();
        assert!(
            table
                .points()
                .all(|point| table.range(point) == (400, 2600))
        );
    }
}

#[test]
fn a_vesc_has_three_points_in_thousandths() {
    let key = |key| ["actuator", "vesc", "", key];
    let expected = [
        (Point::Centre, 500, key("centre")),
        (Point::Left, 124, key("left")),
        (Point::Right, 900, key("right")),
    ];
    assert_eq!(points(&vesc()), expected);
    let table = TrimTable::of(&vesc()).unwrap();
    assert!(table.points().all(|point| table.range(point) == (0, 1000)));
    assert_eq!(table.key(Point::Neutral), None);
}

#[test]
fn two_motors_are_tried_each_alone_and_slowly() {
    let key = |side| ["actuator", "pca9685", "differential", side];
    let expected = [
        (Point::LeftWheel, 0, key("left")),
        (Point::RightWheel, 0, key("right")),
    ];
    assert_eq!(points(&differential()), expected);
    let table = TrimTable::of(&differential()).unwrap();
    assert!(table.points().all(|point| table.range(point) == (0, 300)));
    let mut motors = TrimmedMotors::new(Motors::DryRun(DryRun::default()), &differential());
    let tried = |motors: &TrimmedMotors| {
        let table = TrimTable::of(&motors.tried).unwrap();
        [Point::LeftWheel, Point::RightWheel].map(|point| table.value(point))
    };
    assert!(motors.trim(Point::LeftWheel, 200));
    assert_eq!(tried(&motors), [200, 0]);
    assert!(motors.trim(Point::RightWheel, 1000));
    assert_eq!(tried(&motors), [0, 300]);
    motors.end_trim();
    assert_eq!(tried(&motors), [0, 0]);
}

#[test]
fn a_car_with_a_servo_and_motors_has_the_servos_points_and_one_for_all_motors() {
    let found = points(&bank());
    let table = ["actuator", "pca9685", "steering"];
    let row = |point, value, key| (point, value, [table[0], table[1], table[2], key]);
    let wheels = ["actuator", "pca9685", "motors", "outputs"];
    assert_eq!(
        found,
        [
            row(Point::Centre, 1500, "centre_us"),
            row(Point::Left, 1988, "left_us"),
            row(Point::Right, 1012, "right_us"),
            (Point::Wheels, 0, wheels),
        ]
    );
    assert_eq!(
        TrimTable::of(&bank()).unwrap().range(Point::Wheels),
        (0, 300)
    );
}

/// Motors that were tried do not turn on while a point of the servo is.
#[test]
fn motors_are_tried_alone() {
    let mut motors = TrimmedMotors::new(Motors::DryRun(DryRun::default()), &bank());
    let tried = |motors: &TrimmedMotors| {
        let chip = motors.tried.pca9685.as_ref().unwrap();
        chip.motors.as_ref().unwrap().tried
    };
    assert!(motors.trim(Point::Wheels, 1000));
    assert_eq!(tried(&motors), 300);
    assert!(motors.trim(Point::Left, 1900));
    assert_eq!(tried(&motors), 0);
    // A point that the car does not have changes nothing, so that the motors are stopped with the
    // next one that it has, even if that is at its value.
    for missing in [Point::Neutral, Point::LeftWheel] {
        assert!(motors.trim(Point::Wheels, 300));
        let before = motors.tried.clone();
        assert!(!motors.trim(missing, 1500));
        assert_eq!(motors.tried, before);
        assert!(motors.trim(Point::Left, 1988));
        assert_eq!(tried(&motors), 0);
    }
    motors.trim(Point::Wheels, 200);
    motors.end_trim();
    assert_eq!(tried(&motors), 0);
}

#[test]
fn a_car_without_motors_has_no_points() {
    for kind in ["simulator", "dry-run"] {
        let settings = settings(&format!("[actuator]\nkind = \"{kind}\"\n"));
        assert!(TrimTable::of(&settings).is_none(), "{kind}");
    }
}

#[test]
fn each_point_has_its_steering_and_its_name() {
    let of = |point: Point| (point.steering(), point.to_string());
    assert_eq!(
        Point::ALL.map(of),
        [
            (0.0, "straight ahead".to_owned()),
            (1.0, "full left".to_owned()),
            (-1.0, "full right".to_owned()),
            (0.0, "the motor's neutral".to_owned()),
            (0.0, "the left wheel".to_owned()),
            (0.0, "the right wheel".to_owned()),
            (0.0, "the wheels".to_owned()),
            (0.0, "the outputs off".to_owned()),
        ]
    );
}

#[test]
fn values_are_tried_within_their_range_and_dropped_at_the_end() {
    let motors = |settings: &ActuatorSettings| {
        TrimmedMotors::new(Motors::DryRun(DryRun::default()), settings)
    };
    for (settings, point, tried, got) in [
        (servo("pca9685"), Point::Left, 1234, 1234),
        (servo("pwm"), Point::Neutral, 1234, 1234),
        (servo("pwm"), Point::Right, 0, 400),
        (servo("pwm"), Point::Centre, Value::MAX, 2600),
        (vesc(), Point::Left, 77, 77),
        (vesc(), Point::Centre, 1001, 1000),
    ] {
        let mut motors = motors(&settings);
        assert_eq!(motors.name(), "dry run");
        assert!(motors.trim(point, tried));
        let table = TrimTable::of(&motors.tried).unwrap();
        assert_eq!(table.value(point), got, "{point}");
        for other in table.points().filter(|other| *other != point) {
            let kept = TrimTable::of(&settings).unwrap().value(other);
            assert_eq!(table.value(other), kept, "{other} while {point} is tried");
        }
        motors.end_trim();
        assert_eq!(motors.tried, settings);
    }
    assert!(!motors(&vesc()).trim(Point::Neutral, 500));
    assert!(!motors(&differential()).trim(Point::Centre, 1500));
}

#[test]
fn an_output_enable_pin_is_tried_where_a_servo_shows_it() {
    let with_pin = |mut settings: ActuatorSettings| {
        let chip = settings.pca9685.as_mut().unwrap();
        let pin = "chip = \"/dev/gpiochip0\"\nline = 4";
        chip.output_enable = Some(Source::new("car.toml", pin).parse().unwrap());
        settings
    };
    for settings in [servo("pca9685"), bank()] {
        let settings = with_pin(settings);
        let rows = points(&settings);
        let (point, value, _) = rows.last().unwrap();
        assert_eq!((*point, *value), (Point::OutputsOff, 0));
        let mut motors = TrimmedMotors::new(Motors::DryRun(DryRun::default()), &settings);
        let tried = |motors: &TrimmedMotors| {
            let table = TrimTable::of(&motors.tried).unwrap();
            table.value(Point::OutputsOff)
        };
        assert!(motors.trim(Point::OutputsOff, 9));
        assert_eq!(tried(&motors), 1);
        // The next point has pulses again.
        assert!(motors.trim(Point::Centre, 1500));
        assert_eq!(tried(&motors), 0);
        assert!(motors.trim(Point::OutputsOff, 1));
        motors.end_trim();
        assert_eq!(motors.tried, settings);
    }
    for settings in [servo("pca9685"), with_pin(differential())] {
        let rows = points(&settings);
        assert!(rows.iter().all(|(point, ..)| *point != Point::OutputsOff));
    }
}
