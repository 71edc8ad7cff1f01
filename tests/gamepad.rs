//! What a hand may do to a car, whatever its gamepad says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use pilotage::car::Car;
use pilotage::gamepad::{Gamepad, GamepadConfig, GamepadError, Hand, Input, Range, Snapshot, Wish};
use pilotage_vehicle::Time;
use proptest::prelude::*;

const STEERING: u16 = 0;
const THROTTLE: u16 = 4;
const DEAD_MAN: u16 = 0x136;
const ARM: u16 = 0x13b;
const STOP: u16 = 0x131;
const RANGE: Range = Range {
    least: -32768,
    most: 32767,
};

fn car(gamepad: &str, guard: &str) -> Car {
    let text = format!("[gamepad]\n{gamepad}\n[guard.throttle]\n{guard}\n");
    Car::from_toml("car.toml", &text).unwrap()
}

fn config(car: &Car) -> &GamepadConfig {
    car.gamepad.as_ref().unwrap()
}

fn hand(car: &Car) -> Hand {
    Hand::new(config(car), [RANGE; 2], &car.limits)
}

fn at(ms: u64) -> Time {
    Time::ZERO + Duration::from_millis(ms)
}

fn axis(code: u16, value: i32) -> Input {
    Input::Axis { code, value }
}

fn button(code: u16, pressed: bool) -> Input {
    Input::Button { code, pressed }
}

/// A hand that holds the dead-man button, as of `ms`.
fn holding(car: &Car, ms: u64) -> Hand {
    let mut hand = hand(car);
    hand.know(at(ms), Snapshot::default());
    hand.take(at(ms), button(DEAD_MAN, true));
    hand
}

#[test]
fn sticks_mean_what_they_say() {
    let car = car("", "max = 0.2\nmin = -0.1");
    let mut hand = holding(&car, 1000);
    let mut with = |code, value| {
        hand.take(at(1000), axis(code, value));
        let Wish {
            steering, throttle, ..
        } = hand.wish(at(1000));
        (steering, throttle)
    };
    assert_eq!(with(STEERING, -32768), (1.0, 0.0), "left is to the left");
    assert_eq!(with(STEERING, 32767), (-1.0, 0.0));
    assert_eq!(with(STEERING, 1200), (0.0, 0.0), "the middle is wide");
    assert_eq!(with(THROTTLE, -32768), (0.0, 0.2), "up is the limit");
    assert_eq!(with(THROTTLE, 32767), (0.0, -0.1), "and down the other");
    // Just beyond the dead zone there is no jump.
    let (_, little) = with(THROTTLE, -1700);
    assert!((0.0..0.001).contains(&little), "{little}");
}

#[test]
fn a_trigger_rests_at_its_end() {
    let car = car(
        "throttle = \"ABS_RZ\"\nthrottle_rests = \"end\"\nthrottle_scale = 0.5",
        "max = 0.4",
    );
    let ranges = [
        RANGE,
        Range {
            least: 0,
            most: 1023,
        },
    ];
    let mut hand = Hand::new(config(&car), ranges, &car.limits);
    hand.know(at(0), Snapshot::default());
    hand.take(at(0), button(DEAD_MAN, true));
    assert_eq!(hand.wish(at(0)).throttle, 0.0);
    hand.take(at(0), axis(5, 1023));
    assert_eq!(hand.wish(at(0)).throttle, 0.2, "half of the limit");
    hand.take(at(0), axis(5, 0));
    assert_eq!(hand.wish(at(0)).throttle, 0.0);
}

#[test]
fn let_go_or_silent_the_car_stands() {
    let car = car("", "max = 0.2");
    let mut hand = holding(&car, 1000);
    hand.take(at(1000), axis(THROTTLE, -32768));
    assert_eq!(hand.wish(at(1499)).throttle, 0.2);
    assert_eq!(hand.wish(at(1500)), Wish::default(), "silent for 500 ms");
    // Anything that it says shows that it is there.
    hand.take(at(1600), Input::Other);
    assert_eq!(hand.wish(at(1600)).throttle, 0.2);
    hand.take(at(1601), button(DEAD_MAN, false));
    assert_eq!(hand.wish(at(1601)), Wish::default());
}

#[test]
fn what_is_found_held_down_has_to_be_let_go_first() {
    let car = car("", "");
    let mut hand = hand(&car);
    let found = Snapshot {
        dead_man: true,
        arm: true,
        throttle: Some(-32768),
        ..Snapshot::default()
    };
    hand.know(at(0), found);
    for input in [button(ARM, true), button(DEAD_MAN, true), Input::Report] {
        hand.take(at(1), input);
    }
    assert!(!hand.take_presses().arm);
    assert_eq!(hand.wish(at(1)), Wish::default());
    for pressed in [false, true] {
        hand.take(at(2), button(ARM, pressed));
        hand.take(at(2), button(DEAD_MAN, pressed));
    }
    assert!(hand.take_presses().arm);
    assert!(!hand.take_presses().arm, "one press arms once");
    assert!(hand.wish(at(2)).driven);
    // A stop is never one too many.
    let found = Snapshot {
        stop: true,
        ..Snapshot::default()
    };
    hand.know(at(3), found);
    assert!(hand.take_presses().stop);
}

#[test]
fn events_that_were_lost_are_asked_for_and_the_button_pressed_anew() {
    let car = car("", "max = 0.2");
    let mut hand = holding(&car, 0);
    hand.take(at(0), axis(THROTTLE, -32768));
    hand.take(at(1), Input::Dropped);
    assert_eq!(hand.wish(at(1)), Wish::default());
    hand.take(at(1), button(ARM, true));
    assert!(!hand.wants_state(), "what is cut off is read first");
    hand.take(at(1), Input::Report);
    assert!(hand.wants_state());
    let found = Snapshot {
        dead_man: true,
        throttle: Some(-32768),
        ..Snapshot::default()
    };
    hand.know(at(2), found);
    assert!(!hand.take_presses().arm);
    assert_eq!(hand.wish(at(2)), Wish::default());
    hand.take(at(3), button(DEAD_MAN, false));
    hand.take(at(3), button(DEAD_MAN, true));
    assert_eq!(hand.wish(at(3)).throttle, 0.2);
}

/// The kernel's records, in a pipe.
fn record(kind: u16, code: u16, value: i32) -> Vec<u8> {
    let mut record = vec![0; 16];
    record.extend(kind.to_ne_bytes());
    record.extend(code.to_ne_bytes());
    record.extend(value.to_ne_bytes());
    record
}

#[test]
fn reading_takes_no_memory_and_a_flood_not_all_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pad");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
    let car = car(&format!("device = {path:?}"), "max = 0.2");
    let open = || Gamepad::open(config(&car), &car.limits);
    assert!(
        matches!(open(), Err(GamepadError::Open { .. })),
        "unplugged"
    );
    let both = OpenOptions::new().read(true).write(true).open(&path);
    let mut pipe = both.unwrap();
    let mut pad = open().unwrap();
    pipe.write_all(&record(0, 0, 0)).unwrap();
    assert!(pad.read(at(0)).unwrap());
    let driven = [
        record(1, DEAD_MAN, 1),
        record(3, THROTTLE, -32768),
        record(0, 0, 0),
    ];
    // In two pieces, as no kernel does.
    let driven = driven.concat();
    pipe.write_all(&driven[..31]).unwrap();
    let mut wish = Wish::default();
    let taken = allocation_counter::measure(|| {
        pad.read(at(1)).unwrap();
        pipe.write_all(&driven[31..]).unwrap();
        pad.read(at(2)).unwrap();
        wish = pad.hand().wish(at(2));
    });
    assert_eq!(taken.count_total, 0);
    assert_eq!(wish.throttle, 0.2);

    let flood: Vec<u8> = (0..1500).flat_map(|_| record(3, STEERING, 5)).collect();
    pipe.write_all(&flood).unwrap();
    assert!(
        !pad.read(at(3)).unwrap(),
        "more is left than one turn takes"
    );
    assert!(pad.read(at(3)).unwrap());
    drop(pipe);
    assert!(matches!(pad.read(at(4)), Err(GamepadError::Gone(_))));
}

/// An event or a silence.
#[derive(Debug, Clone)]
enum Happening {
    Input(Input),
    Silence(u64),
    Known(Snapshot),
}

fn happening() -> impl Strategy<Value = Happening> {
    let value = prop_oneof![any::<i32>(), -32768..=32767, Just(i32::MIN), Just(i32::MAX)];
    let code = prop_oneof![Just(STEERING), Just(THROTTLE), any::<u16>()];
    let key = prop_oneof![Just(DEAD_MAN), Just(ARM), Just(STOP), any::<u16>()];
    let known = (any::<[bool; 3]>(), any::<[Option<i32>; 2]>()).prop_map(|(down, axes)| Snapshot {
        steering: axes[0],
        throttle: axes[1],
        dead_man: down[0],
        arm: down[1],
        stop: down[2],
    });
    prop_oneof![
        4 => (code, value).prop_map(|(code, value)| Happening::Input(axis(code, value))),
        6 => (key, any::<bool>()).prop_map(|(key, down)| Happening::Input(button(key, down))),
        1 => Just(Happening::Input(Input::Report)),
        1 => Just(Happening::Input(Input::Other)),
        1 => Just(Happening::Input(Input::Dropped)),
        3 => (0_u64..700).prop_map(Happening::Silence),
        1 => known.prop_map(Happening::Known),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The dead-man button is followed by a second, simpler book-keeping: a press after it
    /// was last seen up, and since then nothing but events that keep it so.
    #[test]
    fn nothing_moves_beyond_the_limits_or_without_the_dead_man(
        all in prop::collection::vec(happening(), 0..60),
        (least, most) in (-1.0_f32..=0.0, 0.0_f32..=1.0),
        scale in 0.01_f64..=1.0,
        silence in 50_u64..=5000,
        range in any::<(i32, i32)>(),
    ) {
        let car = car(
            &format!("throttle_scale = {scale}\nsilence_ms = {silence}"),
            &format!("min = {least}\nmax = {most}"),
        );
        let ranges = [RANGE, Range { least: range.0, most: range.1 }];
        let mut hand = Hand::new(config(&car), ranges, &car.limits);
        let mut now = 0;
        // As it was seen: up, pressed since, or not to be relied on.
        let (mut up, mut held) = (false, false);
        let mut last = None;
        let mut broken = true;
        for happening in all {
            match happening {
                Happening::Silence(ms) => now += ms,
                Happening::Known(snapshot) => {
                    hand.know(at(now), snapshot);
                    (up, held, broken) = (!snapshot.dead_man, false, false);
                    last = Some(now);
                }
                Happening::Input(input) => {
                    hand.take(at(now), input);
                    match input {
                        Input::Dropped => (up, held, broken) = (false, false, true),
                        Input::Report => {}
                        _ if broken => {}
                        Input::Button { code: DEAD_MAN, pressed } => {
                            held = pressed && (held || up);
                            up = !pressed;
                            last = Some(now);
                        }
                        _ => last = Some(now),
                    }
                }
            }
            let wish = hand.wish(at(now));
            let fresh = last.is_some_and(|last| now - last < silence);
            prop_assert_eq!(wish.driven, held && fresh && !broken);
            if !wish.driven {
                prop_assert_eq!(wish, Wish::default());
            }
            prop_assert!((-1.0..=1.0).contains(&wish.steering), "{:?}", wish);
            let spec = car.limits.spec().throttle;
            prop_assert!((spec.min..=spec.max).contains(&wish.throttle), "{:?}", wish);
        }
    }
}
