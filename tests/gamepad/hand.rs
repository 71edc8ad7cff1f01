//! The requests that result from a gamepad's events.

use super::*;

#[test]
fn sticks_command_steering_and_throttle() {
    let car = car("", "max = 0.2\nmin = -0.1");
    let mut hand = holding(&car, 1000);
    let mut with = |code, value| {
        report(&mut hand, 1000, &[axis(code, value)]);
        let DriveRequest {
            steering, throttle, ..
        } = hand.request(at(1000));
        (steering, throttle)
    };
    assert_eq!(with(STEERING, -32768), (1.0, 0.0), "left is to the left");
    assert_eq!(with(STEERING, 32767), (-1.0, 0.0));
    assert_eq!(with(STEERING, 1200), (0.0, 0.0), "the middle is wide");
    assert_eq!(with(THROTTLE, -32768), (0.0, 0.2), "up is the limit");
    assert_eq!(with(THROTTLE, 32767), (0.0, -0.1), "and down the other");
    // The command does not jump at the edge of the dead zone.
    let (_, little) = with(THROTTLE, -1700);
    assert!((0.0..0.001).contains(&little), "{little}");
}

#[test]
fn inverted_axes_command_the_opposite() {
    let car = car(
        "steering_inverted = true\nthrottle_inverted = true",
        "max = 0.2\nmin = -0.1",
    );
    let mut hand = holding(&car, 1000);
    report(
        &mut hand,
        1000,
        &[axis(STEERING, -32768), axis(THROTTLE, -32768)],
    );
    let request = hand.request(at(1000));
    assert_eq!((request.steering, request.throttle), (-1.0, -0.1));
}

#[test]
fn a_trigger_rests_at_its_end() {
    let car = car(
        "throttle = \"ABS_RZ\"\nthrottle_rests = \"end\"\nthrottle_scale = 0.5",
        "max = 0.4",
    );
    let trigger = Range {
        least: 0,
        most: 1023,
        flat: 0,
    };
    let mut hand = hand_with(&car, [RANGE, trigger]);
    hand.know(at(0), at_rest());
    report(&mut hand, 0, &[button(DEAD_MAN, true)]);
    assert_eq!(hand.request(at(0)).throttle, 0.0);
    report(&mut hand, 0, &[axis(5, 1023)]);
    assert_eq!(hand.request(at(0)).throttle, 0.2, "half of the limit");
    report(&mut hand, 0, &[axis(5, 0)]);
    assert_eq!(hand.request(at(0)).throttle, 0.0);
}

#[test]
fn a_released_or_silent_gamepad_commands_rest() {
    let car = car("", "max = 0.2");
    let mut hand = holding(&car, 1000);
    report(&mut hand, 1000, &[axis(THROTTLE, -32768)]);
    assert_eq!(hand.request(at(1499)).throttle, 0.2);
    assert_eq!(
        hand.request(at(1500)),
        DriveRequest::default(),
        "silent for 500 ms"
    );
    // Any event shows that the gamepad is alive.
    report(&mut hand, 1600, &[Input::Other]);
    assert_eq!(hand.request(at(1600)).throttle, 0.2);
    report(&mut hand, 1601, &[button(DEAD_MAN, false)]);
    assert_eq!(hand.request(at(1601)), DriveRequest::default());
}

#[test]
fn buttons_found_held_down_must_be_released_first() {
    let car = car("", "");
    let mut hand = hand(&car);
    let found = Snapshot {
        dead_man: true,
        arm: true,
        ..at_rest()
    };
    hand.know(at(0), found);
    report(&mut hand, 1, &[button(ARM, true), button(DEAD_MAN, true)]);
    assert!(!hand.take_presses().arm);
    assert_eq!(hand.request(at(1)), DriveRequest::default());
    for pressed in [false, true] {
        report(
            &mut hand,
            2,
            &[button(ARM, pressed), button(DEAD_MAN, pressed)],
        );
    }
    assert!(hand.take_presses().arm);
    assert!(!hand.take_presses().arm, "one press arms once");
    assert!(hand.request(at(2)).driven);
    // A button found down stops the car: a superfluous stop does no harm.
    let found = Snapshot {
        stop: true,
        ..Snapshot::default()
    };
    hand.know(at(3), found);
    assert!(hand.take_presses().stop);
}

#[test]
fn after_lost_events_the_state_is_queried_and_the_button_must_be_pressed_again() {
    let car = car("", "max = 0.2");
    let mut hand = holding(&car, 1000);
    report(&mut hand, 1000, &[axis(THROTTLE, -32768)]);
    hand.take(at(1001), Input::Dropped);
    assert_eq!(hand.request(at(1001)), DriveRequest::default());
    hand.take(at(1001), button(ARM, true));
    assert!(!hand.wants_state(), "what is cut off is read first");
    // A stop counts, however old it is.
    hand.take(at(1001), button(STOP, true));
    assert!(hand.take_presses().stop);
    hand.take(at(1001), Input::Report);
    assert!(hand.wants_state());
    let found = Snapshot {
        dead_man: true,
        ..at_rest()
    };
    hand.know(at(1002), found);
    assert!(!hand.take_presses().arm);
    assert_eq!(hand.request(at(1002)), DriveRequest::default());
    for pressed in [false, true] {
        report(&mut hand, 1003, &[button(DEAD_MAN, pressed)]);
    }
    report(&mut hand, 1003, &[axis(THROTTLE, -32768)]);
    assert_eq!(hand.request(at(1003)).throttle, 0.2);
}

#[test]
fn a_held_stop_button_arms_nothing_and_moves_nothing() {
    let car = car("", "max = 0.2");
    let mut hand = holding(&car, 1000);
    report(&mut hand, 1000, &[axis(THROTTLE, -32768)]);
    assert_eq!(hand.request(at(1000)).throttle, 0.2);
    report(&mut hand, 1001, &[button(STOP, true)]);
    assert_eq!(hand.request(at(1001)), DriveRequest::default());
    let presses = hand.take_presses();
    assert!(presses.stop && presses.stop_held, "{presses:?}");
    // The stop button is still held, but only counts as one press.
    report(&mut hand, 1002, &[button(ARM, true)]);
    let presses = hand.take_presses();
    assert!(presses.stop_held && presses.arm_dropped, "{presses:?}");
    assert!(!presses.stop && !presses.arm, "{presses:?}");
    assert_eq!(hand.request(at(1002)), DriveRequest::default());
    // A press of the arm button during the stop does not count after the release either.
    report(&mut hand, 1003, &[button(ARM, false), button(ARM, true)]);
    report(&mut hand, 1004, &[button(STOP, false)]);
    let presses = hand.take_presses();
    assert!(presses.arm_dropped && !presses.arm, "{presses:?}");
    assert!(!presses.stop_held, "{presses:?}");
    report(&mut hand, 1005, &[button(ARM, false), button(ARM, true)]);
    assert!(hand.take_presses().arm);
    // A button that is held when the gamepad is opened counts as held.
    let mut hand = self::hand(&car);
    let found = Snapshot {
        stop: true,
        ..at_rest()
    };
    hand.know(at(0), found);
    report(&mut hand, 500, &[button(DEAD_MAN, true)]);
    assert!(hand.stop_held() && hand.take_presses().stop_held);
    assert_eq!(hand.request(at(500)), DriveRequest::default());
}

#[test]
fn a_deflected_stick_waits_for_neutral() {
    let car = car("", "max = 0.2");
    let deflected = [axis(STEERING, -32000), axis(THROTTLE, -32000)];
    let neutral = [axis(STEERING, 100), axis(THROTTLE, -100)];
    let assert_at_rest = |hand: &mut Hand, why: &str| {
        let request = hand.request(at(1000));
        assert_eq!((request.steering, request.throttle), (0.0, 0.0), "{why}");
        assert!(request.driven, "{why}");
    };
    // Deflected at the dead-man press, in the same report or before it.
    for together in [false, true] {
        let mut hand = hand(&car);
        hand.know(at(0), at_rest());
        if together {
            // The button's event comes first; the axes' known state is older than the press.
            let mut all = vec![button(DEAD_MAN, true)];
            all.extend(deflected);
            report(&mut hand, 1000, &all);
        } else {
            report(&mut hand, 900, &deflected);
            report(&mut hand, 1000, &[button(DEAD_MAN, true)]);
        }
        assert_at_rest(&mut hand, "pressed");
        report(&mut hand, 1000, &[axis(THROTTLE, -20000)]);
        assert_at_rest(&mut hand, "moved, and not at rest");
        report(&mut hand, 1000, &neutral);
        assert_at_rest(&mut hand, "at rest");
        report(&mut hand, 1000, &deflected);
        assert!(hand.request(at(1000)).throttle > 0.1);
        assert!(hand.request(at(1000)).steering > 0.9);
        // Each arming locks the axes again.
        hand.armed(at(1000));
        assert_at_rest(&mut hand, "armed");
        // The axes are locked independently.
        report(&mut hand, 1000, &[axis(STEERING, 0)]);
        report(&mut hand, 1000, &deflected);
        let request = hand.request(at(1000));
        assert!(
            request.steering > 0.9 && request.throttle == 0.0,
            "{request:?}"
        );
        report(&mut hand, 1000, &neutral);
        report(&mut hand, 1000, &deflected);
        assert!(hand.request(at(1000)).throttle > 0.1);
    }
    // An axis that is at rest when the guard is armed need not return to rest again.
    let mut hand = holding(&car, 1000);
    hand.armed(at(1000));
    report(&mut hand, 1000, &deflected);
    assert!(hand.request(at(1000)).throttle > 0.1);
    // The reason why an axis does not drive is reported once.
    hand.armed(at(1000));
    report(&mut hand, 2000, &[Input::Other]);
    let messages = notices(&mut hand, 2000);
    assert!(
        messages[1].starts_with("ABS_X drives nothing until it is at rest"),
        "{messages:?}"
    );
    assert_eq!(notices(&mut hand, 2400), [""; 0]);
}

#[test]
fn an_axis_with_an_unknown_position_drives_nothing() {
    let car = car("", "max = 0.2");
    // A pipe whose axes have not reported, and an axis without a range.
    for ranges in [
        [RANGE; 2],
        [
            RANGE,
            Range {
                most: -32768,
                ..RANGE
            },
        ],
    ] {
        let mut hand = hand_with(&car, ranges);
        hand.collect();
        report(&mut hand, 0, &[Input::Other]);
        report(&mut hand, 1, &[button(DEAD_MAN, true)]);
        let request = hand.request(at(1));
        assert!(request.driven);
        assert_eq!((request.steering, request.throttle), (0.0, 0.0));
        report(
            &mut hand,
            2,
            &[axis(STEERING, -20000), axis(THROTTLE, -20000)],
        );
        let request = hand.request(at(2));
        assert_eq!((request.steering, request.throttle), (0.0, 0.0));
    }
}

/// A DualShock 4 under hid-generic with the mapping of its specific driver: ABS_RY is R2, which
/// rests at its least value.
#[test]
fn a_trigger_mapped_as_a_stick_is_reported_and_drives_nothing() {
    let byte = Range {
        least: 0,
        most: 255,
        flat: 15,
    };
    let car = car("", "max = 0.2\nmin = -0.2");
    let mut hand = hand_with(&car, [byte; 2]);
    let found = Snapshot {
        steering: Some(127),
        throttle: Some(0),
        ..Snapshot::default()
    };
    hand.know(at(0), found);
    // The kernel's values before the first report are not values that the gamepad reported.
    assert_eq!(notices(&mut hand, 900).len(), 1);
    let mut hand = hand_with(&car, [byte; 2]);
    hand.know(at(0), found);
    report(&mut hand, 1, &[Input::Other]);
    assert_eq!(
        notices(&mut hand, 299),
        ["stop button not tested: press it once (BTN_EAST)"]
    );
    assert_eq!(
        notices(&mut hand, 300),
        [
            "ABS_RY rests at its end: it is a trigger; set throttle_rests = \"end\" or run \
             `pilotage gamepad`"
        ]
    );
    assert_eq!(notices(&mut hand, 9999), [""; 0], "once");
    report(&mut hand, 1000, &[button(DEAD_MAN, true)]);
    // When squeezed, the trigger passes the middle and stays there for a while; when released, it
    // is at its end.
    for (ms, value) in [(1100, 60), (1110, 127), (1500, 128), (1510, 255), (1600, 0)] {
        report(&mut hand, ms, &[axis(THROTTLE, value)]);
        let request = hand.request(at(ms));
        assert!(request.driven);
        assert_eq!(request.throttle, 0.0, "{value} at {ms}");
    }
    // A stick that was held at its end at the start rests in the middle, and drives from the next
    // press of the dead-man button on.
    report(
        &mut hand,
        2000,
        &[axis(THROTTLE, 126), button(DEAD_MAN, false)],
    );
    report(&mut hand, 2299, &[button(DEAD_MAN, true)]);
    report(&mut hand, 2299, &[axis(THROTTLE, 0)]);
    assert_eq!(
        hand.request(at(2299)).throttle,
        0.0,
        "it has not rested long enough"
    );
    report(
        &mut hand,
        2300,
        &[axis(THROTTLE, 126), button(DEAD_MAN, false)],
    );
    report(&mut hand, 2600, &[button(DEAD_MAN, true)]);
    report(&mut hand, 2600, &[axis(THROTTLE, 0)]);
    assert_eq!(hand.request(at(2600)).throttle, 0.2);

    // The same for steering, and for a stick mapped as a trigger.
    let mut hand = hand_with(&car, [byte; 2]);
    hand.know(
        at(0),
        Snapshot {
            steering: Some(255),
            throttle: Some(127),
            ..found
        },
    );
    report(&mut hand, 1, &[Input::Other]);
    let messages = notices(&mut hand, 300);
    assert!(
        messages[1].contains("ABS_X rests at its end: it is a trigger; name another"),
        "{messages:?}"
    );
    let car = self::car("throttle_rests = \"end\"", "max = 0.2");
    let mut hand = hand_with(&car, [byte; 2]);
    hand.know(
        at(0),
        Snapshot {
            throttle: Some(127),
            ..found
        },
    );
    report(&mut hand, 1, &[Input::Other]);
    let messages = notices(&mut hand, 300);
    assert!(
        messages[1].contains("ABS_RY rests in the middle: it is a stick"),
        "{messages:?}"
    );
    report(&mut hand, 1000, &[button(DEAD_MAN, true)]);
    for value in [0, 127, 255] {
        report(&mut hand, 1000, &[axis(THROTTLE, value)]);
        assert_eq!(hand.request(at(1000)).throttle, 0.0, "{value}");
    }
}

#[test]
fn the_kernels_flat_and_the_rest_position_widen_the_dead_zone() {
    let car = car("dead_zone = 0.0", "max = 1.0\nmin = -1.0");
    let throttle = |range: Range, rest: i32, value: i32| {
        let mut hand = hand_with(&car, [range; 2]);
        hand.know(
            at(0),
            Snapshot {
                throttle: Some(rest),
                ..at_rest()
            },
        );
        report(&mut hand, 300, &[button(DEAD_MAN, true)]);
        report(&mut hand, 300, &[axis(THROTTLE, value)]);
        hand.request(at(300)).throttle
    };
    let flat = Range {
        flat: 4096,
        ..RANGE
    };
    assert_eq!(throttle(flat, 0, -4096), 0.0);
    assert!(throttle(flat, 0, -5000) > 0.0);
    assert!(throttle(RANGE, 0, -5000) > throttle(flat, 0, -5000));
    // An eighth off the middle: this is the rest position, and the middle counts as rest too.
    let off = Range { flat: 200, ..RANGE };
    assert_eq!(throttle(off, 4096, 4096), 0.0);
    assert_eq!(throttle(off, 4096, 0), 0.0);
    assert_eq!(throttle(off, 4096, -199), 0.0);
    assert!(throttle(off, 4096, -1000) > 0.0);
    assert!(throttle(off, 4096, 6000) < 0.0);
    assert_eq!(throttle(off, 4096, 32767), -1.0, "all of the way is there");
    assert_eq!(throttle(off, 4096, -32768), 1.0);
    // Farther off the middle it is a stick that is held, and drives nothing.
    assert_eq!(throttle(off, 6000, 32767), 0.0);
    // A flat as wide as the travel still leaves some of the travel.
    let absurd = Range {
        flat: i32::MAX,
        ..RANGE
    };
    assert_eq!(throttle(absurd, 0, -16000), 0.0);
    assert_eq!(throttle(absurd, 0, -32768), 1.0);
    assert_eq!(
        throttle(
            Range {
                flat: i32::MIN,
                ..RANGE
            },
            0,
            -32768
        ),
        1.0
    );
}

#[test]
fn one_press_proves_the_stop_button() {
    let car = car("", "");
    let mut hand = hand(&car);
    assert_eq!(notices(&mut hand, 0), [""; 0], "nothing is known yet");
    // A button found held stops the car, but is not a press.
    hand.know(
        at(0),
        Snapshot {
            stop: true,
            ..at_rest()
        },
    );
    assert_eq!(
        notices(&mut hand, 0),
        ["stop button not tested: press it once (BTN_EAST)"]
    );
    assert!(!hand.stop_tested());
    report(&mut hand, 1, &[button(STOP, false)]);
    assert_eq!(notices(&mut hand, 1), [""; 0]);
    report(&mut hand, 2, &[button(STOP, true)]);
    assert!(hand.stop_tested());
    assert_eq!(notices(&mut hand, 2), ["stop button works"]);
    report(&mut hand, 3, &[button(STOP, false), button(STOP, true)]);
    assert_eq!(notices(&mut hand, 3), [""; 0], "once");
}

#[test]
fn buttons_of_commands_are_pressed_once_each_and_move_nothing() {
    let gamepad = "commands = { left = \"BTN_WEST\", right = \"BTN_NORTH\" }";
    let car = car(gamepad, "max = 0.2");
    let codes: Vec<u16> = config(&car).commands.iter().map(|(_, it)| it.0).collect();
    let mut hand = hand(&car);
    // A button that was found down was not pressed.
    hand.collect();
    report(&mut hand, 0, &[button(codes[0], true)]);
    assert_eq!(hand.take_presses().command, None);
    report(
        &mut hand,
        10,
        &[button(codes[0], false), button(codes[1], true)],
    );
    let presses = hand.take_presses();
    assert_eq!(presses.command, Some(1));
    assert!(!presses.arm && !presses.stop && !hand.request(at(10)).driven);
    assert_eq!(hand.take_presses().command, None);
    report(
        &mut hand,
        20,
        &[button(codes[1], false), button(codes[0], true)],
    );
    assert_eq!(hand.take_presses().command, Some(0));
}

#[test]
fn buttons_of_commands_have_one_purpose() {
    for (commands, reason) in [
        ("left = \"BTN_TL\"", "so is `dead_man`"),
        ("left = \"BTN_WEST\", right = \"BTN_WEST\"", "so is `left`"),
        ("Left = \"BTN_WEST\"", "not the name of a command"),
        ("left = \"BTN_WETS\"", "did you mean `BTN_WEST`?"),
    ] {
        let text = format!("[gamepad]\ncommands = {{ {commands} }}\n");
        let error = Car::from_toml("car.toml", &text).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}
