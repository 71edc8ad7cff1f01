//! `[guard]` of car.toml: defaults, ranges, and the key that each error names.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::time::Duration;

use pilotage_guard::{Channel, GuardedCar, Limits, LimitsSpec};
use pilotage_vehicle::Domain;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn limits(text: &str) -> LimitsSpec {
    let car = GuardedCar::from_toml("car.toml", text).unwrap();
    *car.limits.spec()
}

/// The error of a car.toml with this `[guard]`, which has to name `key`.
#[track_caller]
fn refused(guard: &str, key: &str) -> String {
    let text = format!("[camera]\nrate = 20.0\n[guard]\n{guard}\n");
    let error = GuardedCar::from_toml("car.toml", &text).unwrap_err();
    let error = error.to_string();
    assert!(error.contains(key), "{guard}: {error}");
    error
}

#[test]
fn a_car_without_settings_has_the_limits_of_the_simulated_car() {
    let longer = LimitsSpec {
        deadline: ms(175),
        max_age: ms(175),
        ..LimitsSpec::simulated()
    };
    assert_eq!(limits(""), longer);
    assert_eq!(*Limits::simulated().spec(), LimitsSpec::simulated());
    let channel = Channel {
        failsafe: 0.0,
        disarmed: 0.0,
        min: -1.0,
        max: 1.0,
        slew_per_second: 40.0,
    };
    assert_eq!(
        limits(""),
        LimitsSpec {
            steering: channel,
            throttle: Channel {
                slew_per_second: 20.0,
                ..channel
            },
            frame_period: ms(50),
            deadline: ms(175),
            actuator_delay: Duration::ZERO,
            max_age: ms(175),
            first_command: ms(2000),
            brake: Duration::ZERO,
            actuator: Domain::Simulated,
        }
    );
}

#[test]
fn a_speed_controllers_brake_is_one_of_the_limits() {
    let throttle = "[actuator.bridge.throttle]\nahead_us = 2000\nneutral_us = 1500\n\
                    reverse_us = 1500\nfailsafe_us = 1500\ndisarmed_us = 0\n\
                    brake = { us = 1200, ms = 400 }\n";
    let bridge = "[actuator.bridge]\nport = \"/dev/ttyACM0\"\n[actuator.bridge.steering]\n\
                  left_us = 1100\ncentre_us = 1500\nright_us = 1900\nfailsafe_us = 1500\n\
                  disarmed_us = 0\n";
    let car = |kind: &str| limits(&format!("[actuator]\nkind = {kind:?}\n{bridge}{throttle}"));
    assert_eq!(car("bridge").brake, ms(400));
    assert_eq!(car("dry-run").brake, Duration::ZERO);
}

#[test]
fn times_follow_the_frame_rate_and_each_other() {
    let slow = limits("[camera]\nrate = 10.0");
    assert_eq!(slow.frame_period, ms(100));
    assert_eq!(slow.deadline, ms(350), "three and a half frame periods");
    assert_eq!((slow.max_age, slow.first_command), (ms(350), ms(2000)));
    let slower = limits("[camera]\nrate = 1.0");
    assert_eq!(
        (slower.deadline, slower.first_command),
        (ms(3500), ms(3500))
    );
    let fast = limits("[camera]\nrate = 60.0\n[guard]\ndeadline_ms = 50.0");
    assert_eq!(fast.frame_period, Duration::from_micros(16_666));
    let written = limits(
        "[guard]\ndeadline_ms = 400.5\nmax_age_ms = 120.0\nfirst_command_ms = 5000.0\n\
         [guard.steering]\nmin = -0.5\nfailsafe = 0.25\ndisarmed = -0.25\n\
         [guard.throttle]\nmax = 0.3\nslew_per_second = 2.0",
    );
    assert_eq!(written.deadline, Duration::from_micros(400_500));
    assert_eq!(
        (written.max_age, written.first_command),
        (ms(120), ms(5000))
    );
    let (steering, throttle) = (written.steering, written.throttle);
    assert_eq!((steering.min, steering.max), (-0.5, 1.0));
    assert_eq!((steering.failsafe, steering.disarmed), (0.25, -0.25));
    assert_eq!((throttle.min, throttle.max), (-1.0, 0.3));
    assert_eq!(
        (steering.slew_per_second, throttle.slew_per_second),
        (40.0, 2.0)
    );
}

#[test]
fn each_time_is_from_1_to_60000_ms() {
    for key in ["deadline_ms", "max_age_ms", "first_command_ms"] {
        for value in [
            "-1.0", "0.0", "0.999", "60000.1", "1e300", "nan", "inf", "-inf",
        ] {
            let error = refused(&format!("{key} = {value}"), &format!("guard.{key}"));
            assert!(error.contains("must be from 1 to 60000"), "{error}");
        }
    }
    let widest = limits("[camera]\nrate = 0.05\n[guard]\ndeadline_ms = 60000.0");
    assert_eq!(widest.deadline, ms(60_000));
}

#[test]
fn the_deadline_is_from_3_to_20_frame_periods() {
    for (deadline, accepted) in [
        (149.9, false),
        (150.0, true),
        (1000.0, true),
        (1000.1, false),
    ] {
        let text = format!("[guard]\ndeadline_ms = {deadline:?}");
        let car = GuardedCar::from_toml("car.toml", &text);
        assert_eq!(car.is_ok(), accepted, "{deadline}");
    }
    let error = refused("deadline_ms = 149.9", "guard.deadline_ms");
    assert!(
        error.contains("here 150 to 1000 ms, not 149.9 ms"),
        "{error}"
    );
}

#[test]
fn commands_are_no_older_than_the_deadline_and_the_first_comes_within_a_minute() {
    limits("[guard]\nmax_age_ms = 1.0");
    limits("[guard]\nmax_age_ms = 175.0");
    let error = refused("max_age_ms = 175.1", "guard.max_age_ms");
    assert!(
        error.contains("at most the deadline (175 ms), not 175.1 ms"),
        "{error}"
    );
    limits("[guard]\nfirst_command_ms = 175.0");
    limits("[guard]\nfirst_command_ms = 60000.0");
    let error = refused("first_command_ms = 174.9", "guard.first_command_ms");
    assert!(
        error.contains("from the deadline (175 ms) to 60000 ms, not 174.9 ms"),
        "{error}"
    );
}

#[test]
fn an_error_names_its_key() {
    let steering = |line: &str| format!("[guard.steering]\n{line}");
    let throttle = |line: &str| format!("[guard.throttle]\n{line}");
    for key in ["min", "max", "failsafe", "disarmed"] {
        for value in ["1.001", "-1.001", "nan", "inf"] {
            let line = format!("{key} = {value}");
            refused(&steering(&line), &format!("guard.steering.{key}"));
            refused(&throttle(&line), &format!("guard.throttle.{key}"));
        }
    }
    let crossed = "min = 0.5\nmax = 0.4\nfailsafe = 0.45\ndisarmed = 0.45";
    refused(&steering(crossed), "guard.steering.min");
    refused(
        &steering("max = 0.5\nfailsafe = 0.6"),
        "guard.steering.failsafe",
    );
    refused(
        &steering("min = 0.1\nfailsafe = 0.2"),
        "guard.steering.disarmed",
    );
    for slew in ["0.0", "-1.0", "nan", "inf"] {
        let line = format!("slew_per_second = {slew}");
        refused(&steering(&line), "guard.steering.slew_per_second");
        refused(&throttle(&line), "guard.throttle.slew_per_second");
    }
    refused(&throttle("failsafe = 0.1"), "guard.throttle.failsafe");
    refused(&throttle("disarmed = -0.1"), "guard.throttle.disarmed");
}

#[test]
fn a_channel_may_have_one_value() {
    let fixed = "[guard.steering]\nmin = 0.5\nmax = 0.5\nfailsafe = 0.5\ndisarmed = 0.5";
    assert_eq!(limits(fixed).steering.min, 0.5);
    assert_eq!(limits(fixed).steering.max, 0.5);
}

#[test]
fn a_frame_rate_without_a_period_is_refused() {
    for rate in ["0.0", "-20.0", "nan", "inf", "2e6", "1e-300"] {
        let text = format!("[camera]\nrate = {rate}");
        assert!(GuardedCar::from_toml("car.toml", &text).is_err(), "{rate}");
    }
}

#[test]
fn a_car_is_described_by_name_motors_and_file() {
    let car = GuardedCar::from_toml("/etc/pilotage/car.toml", "[car]\nname = \"Kit\"").unwrap();
    assert_eq!(car.name(), "Kit");
    assert_eq!(car.describe(), "Kit (simulator; /etc/pilotage/car.toml)");
    let car = GuardedCar::from_toml("/etc/pilotage/car.toml", "").unwrap();
    assert_eq!(car.name(), "car");
    assert_eq!(car.file, Path::new("/etc/pilotage/car.toml"));
}

#[test]
fn the_socket_is_the_written_one() {
    let car = GuardedCar::from_toml("car.toml", "[guard]\nsocket = \"/run/x.sock\"").unwrap();
    assert_eq!(car.socket, Path::new("/run/x.sock"));
}
