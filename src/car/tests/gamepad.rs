//! `[gamepad]`.

use pilotage_gamepad::{Mapping, Rest};

use super::*;

#[test]
fn the_gamepad_table_enables_the_gamepad() {
    assert_eq!(accepted("").gamepad, None);
    assert_eq!(
        accepted("[gamepad]").gamepad,
        Some(GamepadConfig::default())
    );
    let pad = accepted(
        "[gamepad]\nthrottle = \"ABS_RZ\"\nthrottle_rests = \"end\"\nstop = \"BTN_B\"\n\
         steering_inverted = true\nsilence_ms = 800",
    );
    let pad = pad.gamepad.unwrap();
    let mapping = pad.mapping.unwrap();
    assert_eq!(mapping.throttle.axis.to_string(), "ABS_RZ");
    assert_eq!(mapping.throttle.rest, Rest::End);
    assert!(mapping.steering.inverted);
    // Another name of the same button.
    assert_eq!(mapping.stop, Mapping::default().stop);
    assert_eq!(pad.silence, Duration::from_millis(800));
}

#[test]
fn one_named_axis_or_button_overrides_the_known_mapping() {
    // The mapping of a known gamepad is used only if the file names no axis or button.
    for nothing in [
        "",
        "name = \"Xbox\"",
        "dead_zone = 0.1\nthrottle_scale = 0.5",
    ] {
        let pad = accepted(&format!("[gamepad]\n{nothing}")).gamepad.unwrap();
        assert_eq!(pad.mapping, None, "{nothing}");
    }
    for named in [
        "steering = \"ABS_X\"",
        "steering_inverted = false",
        "throttle = \"ABS_RY\"",
        "throttle_inverted = false",
        "throttle_rests = \"middle\"",
        "dead_man = \"BTN_TL\"",
        "arm = \"BTN_START\"",
        "stop = \"BTN_EAST\"",
    ] {
        let pad = accepted(&format!("[gamepad]\n{named}")).gamepad.unwrap();
        assert_eq!(pad.mapping, Some(Mapping::default()), "{named}");
    }
    for unknown in ["\"centre\"", "\"\"", "1"] {
        let error = refused(&format!("[gamepad]\nthrottle_rests = {unknown}"));
        assert!(error.starts_with("car.toml:2: "), "{error}");
    }
}

#[test]
fn invalid_gamepad_settings_are_refused_with_their_line() {
    for (key, value, expected) in [
        ("stop", "\"btn_start\"", "did you mean `BTN_START`?"),
        (
            "steering",
            "\"ABS_RUDER\"",
            "no axis `ABS_RUDER`: did you mean `ABS_RUDDER`?",
        ),
        (
            "dead_man",
            "\"BTN_TOP_LEFT_SHOULDER\"",
            "the kernel has no button `BTN_TOP_LEFT",
        ),
        ("stop", "\"BTN_ESAT\"", "did you mean `BTN_EAST`?"),
        ("arm", "\"ABS_X\"", "the kernel has no button `ABS_X`"),
        (
            "arm",
            "\"BTN_TL\"",
            "is BTN_TL, and so is `gamepad.dead_man`",
        ),
        (
            "throttle",
            "\"ABS_X\"",
            "is ABS_X, and so is `gamepad.steering`",
        ),
        ("device", "\"\"", "must not be empty"),
        ("dead_zone", "0.6", "must be from 0 to 0.5, and is 0.6"),
        ("throttle_scale", "0.0", "must be from 0.01 to 1, and is 0"),
        ("silence_ms", "nan", "must be from 50 to 5000, and is NaN"),
    ] {
        let error = refused(&format!("[gamepad]\n{key} = {value}"));
        let at = format!("car.toml:2: `gamepad.{key}`: ");
        assert!(error.starts_with(&at), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let near = refused("[gamepad]\ndeadman = \"BTN_TL\"");
    assert!(near.contains("did you mean `dead_man`?"), "{near}");
}
