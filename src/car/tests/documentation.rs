//! docs/car.md has each key of car.toml, with its default.

use super::*;

/// The documentation's tables: section, key, default as written there.
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

/// What the code takes below `header`: its own message on a key it does not know.
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
    assert_eq!(sections.len(), 8, "{sections:?}");
    sections.extend(
        [
            "guard.steering",
            "guard.throttle",
            "actuator.pca9685",
            "actuator.pca9685.steering",
            "actuator.pca9685.throttle",
            "actuator.pca9685.differential",
            "actuator.vesc",
            "actuator.pwm",
        ]
        .map(str::to_owned),
    );
    for section in &sections {
        let mut keys = known(&format!("[{section}]"));
        // Tables of their own, with their own headings.
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
        // Motors' tables have keys without a default beside these: crates/guard checks them.
        if default == "none" || section.starts_with("actuator.") {
            continue;
        }
        checked += 1;
        let text = format!("[{section}]\n{key} = {default}");
        // This table's being there is something.
        let none = match section.as_str() {
            "gamepad" => "[gamepad]",
            _ => "",
        };
        assert_eq!(meant(accepted(&text)), meant(accepted(none)), "{text}");
        // That the default is the one in the default file, too, is the first test's business.
        assert!(DEFAULT.contains(&format!("{key} = {default}")), "{text}");
    }
    assert!(checked > 30, "{checked}");
}

proptest! {
    #[test]
    fn arbitrary_text_is_never_a_panic(text in "\\PC*") {
        let _ = Car::from_toml("car.toml", &text);
    }

    #[test]
    fn arbitrary_values_are_never_a_panic(
        at in 0_usize..64,
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
        let (section, key, _) = &keys[at % keys.len()];
        let text = format!("[{section}]\n{key} = {value}");
        match Car::from_toml("car.toml", &text) {
            // What passes can be driven with: a guard, a camera and a mixer stand behind it.
            Ok(car) => prop_assert!(
                car.limits.spec().deadline >= car.limits.spec().frame_period * 3
            ),
            Err(error) => prop_assert!(error.to_string().starts_with("car.toml:"), "{}", error),
        }
    }
}
