//! docs/car.md lists each key of car.toml with its default.

use super::*;

/// The rows of the documentation's tables: section, key, default as written there.
fn documented() -> Vec<(String, String, String)> {
    let text = include_str!("../../../docs/car.md");
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## `[") {
            section = heading.trim_end_matches("]`").to_owned();
        } else if let Some(row) = line.strip_prefix("| `") {
            let (key, rest) = row.split_once('`').unwrap();
            let default = rest.trim_end_matches(['|', ' ']).rsplit("| ").next();
            let default = default.unwrap().trim().trim_matches('`');
            keys.push((section.clone(), key.to_owned(), default.to_owned()));
        }
    }
    keys
}

/// The keys that the code accepts below `header`, from its message about an unknown key.
fn known(header: &str) -> Vec<String> {
    let message = refused(&format!("{header}\n\"?\" = 0"));
    let (_, list) = message.split_once("there is ").unwrap();
    list.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_documentation_has_each_key_and_no_other() {
    let documented = documented();
    let mut sections = known("");
    assert_eq!(sections.len(), 11, "{sections:?}");
    sections.extend(
        [
            "guard.steering",
            "guard.throttle",
            "actuator.pca9685",
            "actuator.pca9685.steering",
            "actuator.pca9685.throttle",
            "actuator.pca9685.differential",
            "actuator.pca9685.motors",
            "actuator.vesc",
            "actuator.pwm",
            "actuator.maestro",
            "actuator.bridge",
        ]
        .map(str::to_owned),
    );
    for section in &sections {
        let mut keys = known(&format!("[{section}]"));
        // Tables have headings of their own.
        keys.retain(|key| !sections.contains(&format!("{section}.{key}")));
        let mut described: Vec<_> = documented
            .iter()
            .filter(|(of, ..)| of == section)
            .map(|(_, key, _)| key.clone())
            .collect();
        keys.sort();
        described.sort();
        assert_eq!(described, keys, "[{section}]");
    }
    assert!(documented.iter().all(|(of, ..)| sections.contains(of)));
}

#[test]
fn the_documented_defaults_are_those_of_the_code() {
    let mut checked = 0;
    for (section, key, default) in documented() {
        // Actuator tables have required keys without a default; crates/guard checks them.
        if default == "none" || section.starts_with("actuator.") {
            continue;
        }
        checked += 1;
        let text = format!("[{section}]\n{key} = {default}");
        // An empty table here already changes the car.
        let none = match section.as_str() {
            "gamepad" => "[gamepad]",
            "imu" => "[imu]\ngyroscope = \"mpu6050\"",
            "lidar" => "[lidar]\nport = \"/dev/ttyUSB0\"",
            _ => "",
        };
        let text = match section.as_str() {
            "imu" | "lidar" => format!("{none}\n{key} = {default}"),
            _ => text,
        };
        assert_eq!(
            without_origin(accepted(&text)),
            without_origin(accepted(none)),
            "{text}"
        );
        // The first test of `car::tests` checks that the default file has the same default.
        assert!(DEFAULT.contains(&format!("{key} = {default}")), "{text}");
    }
    assert!(checked > 30, "{checked}");
}

#[path = "../../../crates/guard/tests/actuator_settings/tables.rs"]
#[allow(dead_code, reason = "the guard's tests use the others too")]
mod tables;

/// Valid actuator tables, in which one value is replaced. A key of an actuator table alone is
/// always refused, because other required keys are missing.
fn motors() -> [&'static str; 7] {
    // Without `actuator.kind`: the car stays a simulated one, which needs no camera.
    let table = |text: &'static str| &text[text.find("[actuator.").unwrap()..];
    [
        table(tables::SERVO),
        table(tables::MOTORS),
        table(tables::TWO_CHIPS),
        table(tables::VESC),
        r#"[actuator.pwm]
frequency = 60
steering_pin = { chip = "/sys/class/pwm/pwmchip0" }
throttle_pin = { chip = "/sys/class/pwm/pwmchip0" }
steering = { channel = 1, left_us = 1100, centre_us = 1500, right_us = 1900, failsafe_us = 1500, disarmed_us = 0 }
throttle = { channel = 0, ahead_us = 2000, neutral_us = 1510, reverse_us = 1000, failsafe_us = 1510, disarmed_us = 0 }
"#,
        r#"[actuator.bridge]
port = "/dev/ttyACM0"
steering = { left_us = 1100, centre_us = 1500, right_us = 1900, failsafe_us = 1500, disarmed_us = 0 }
throttle = { ahead_us = 2000, neutral_us = 1510, reverse_us = 1510, failsafe_us = 1510, disarmed_us = 0, brake = { us = 1200, ms = 400 } }
"#,
        r#"[actuator.maestro]
port = "/dev/ttyACM0"
steering = { channel = 1, left_us = 1100, centre_us = 1500, right_us = 1900, failsafe_us = 1500, disarmed_us = 0 }
throttle = { channel = 0, ahead_us = 2000, neutral_us = 1510, reverse_us = 1000, failsafe_us = 1510, disarmed_us = 0 }
"#,
    ]
}

/// A file with only this key. For an actuator, a valid table in which this line is changed or
/// added.
fn with_value(section: &str, key: &str, value: &str) -> String {
    let header = format!("[{section}]");
    let line = format!("{key} = {value}\n");
    let Some(good) = motors().into_iter().find(|good| good.contains(&header)) else {
        return format!("{header}\n{line}");
    };
    let (before, table) = good.split_once(&header).unwrap();
    let end = table.find("\n[").map_or(table.len(), |end| end + 1);
    let (table, after) = table.split_at(end);
    let is_key = |line: &str| line.split(" = ").next() == Some(key);
    let kept: String = table
        .trim_start()
        .split_inclusive('\n')
        .filter(|line| !is_key(line))
        .collect();
    format!("{before}{header}\n{line}{kept}{after}")
}

#[test]
fn a_table_with_one_invalid_value_is_refused_for_that_value() {
    for good in motors() {
        accepted(good);
    }
    for (section, key, good, bad) in [
        ("actuator.pca9685", "frequency", "50", "5"),
        ("actuator.pca9685", "address", "0x41", "0x70"),
        ("actuator.pca9685.steering", "centre_us", "1400", "400"),
        ("actuator.pca9685.throttle", "channel", "3", "16"),
        ("actuator.pca9685.differential", "turn", "0.1", "1.1"),
        ("actuator.vesc", "full_duty", "0.9", "0.96"),
        ("actuator.vesc", "baud", "57600", "38400"),
        ("actuator.pca9685.motors", "address", "0x41", "0x40"),
        ("actuator.bridge", "baud", "57600", "38400"),
        ("actuator.pwm", "frequency", "400", "401"),
        (
            "actuator.maestro",
            "port",
            "\"/dev/ttyACM1\"",
            "\"ttyACM1\"",
        ),
        // Not of an actuator, and alone in their file.
        ("guard.throttle", "max", "0.5", "1.5"),
        ("guard", "deadline_ms", "200", "nan"),
    ] {
        accepted(&with_value(section, key, good));
        let message = refused(&with_value(section, key, bad));
        assert!(message.contains(key), "[{section}] {key}: {message}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_is_never_a_panic(text in "\\PC*") {
        let _ = Car::from_toml("car.toml", &text);
    }

    #[test]
    fn arbitrary_values_are_never_a_panic(
        at in any::<prop::sample::Index>(),
        value in prop_oneof![
            any::<f64>().prop_map(|value| if value.is_finite() { format!("{value:e}") } else { "nan".into() }),
            any::<i64>().prop_map(|value| value.to_string()),
            "\"[a-z./ \\-]{0,12}\"",
            Just("[]".to_owned()),
            Just("[[0, 0], [nan, 1]]".to_owned()),
            Just("-inf".to_owned()),
        ],
    ) {
        let keys = documented();
        let (section, key, _) = at.get(&keys);
        let text = with_value(section, key, &value);
        match Car::from_toml("car.toml", &text) {
            // What passes must be usable: a guard, a camera and a mixer are built from it.
            Ok(car) => prop_assert!(
                car.limits.spec().deadline >= car.limits.spec().frame_period * 3
            ),
            Err(error) => prop_assert!(error.to_string().starts_with("car.toml:"), "{}", error),
        }
    }
}
