//! What an operator's hand may do to a car, whatever the gamepad reports.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::time::Duration;

use pilotage::car::Car;
use pilotage_gamepad::{DriveRequest, GamepadConfig, Hand, Input, Range, Snapshot};
use pilotage_vehicle::Time;

mod command;
mod hand;
mod known;
mod pipe;
mod property;

const STEERING: u16 = 0;
const THROTTLE: u16 = 4;
const DEAD_MAN: u16 = 0x136;
const ARM: u16 = 0x13b;
const STOP: u16 = 0x131;
const RANGE: Range = Range {
    least: -32768,
    most: 32767,
    flat: 0,
};

fn car(gamepad: &str, guard: &str) -> Car {
    let text = format!("[gamepad]\n{gamepad}\n[guard.throttle]\n{guard}\n");
    Car::from_toml("car.toml", &text).unwrap()
}

fn config(car: &Car) -> &GamepadConfig {
    car.gamepad.as_ref().unwrap()
}

fn hand(car: &Car) -> Hand {
    hand_with(car, [RANGE; 2])
}

fn hand_with(car: &Car, ranges: [Range; 2]) -> Hand {
    let config = config(car);
    let mapping = config.mapping.unwrap_or_default();
    Hand::new(config, &mapping, ranges, &car.limits)
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

/// A hand that holds the dead-man button, on a gamepad that was opened at rest 300 ms before `ms`.
fn holding(car: &Car, ms: u64) -> Hand {
    let mut hand = hand(car);
    hand.know(at(ms - 300), at_rest());
    report(&mut hand, ms, &[button(DEAD_MAN, true)]);
    hand
}

/// Sticks in their middle, no button down.
fn at_rest() -> Snapshot {
    Snapshot {
        steering: Some(0),
        throttle: Some(0),
        ..Snapshot::default()
    }
}

/// Passes the inputs of one complete report.
fn report(hand: &mut Hand, ms: u64, inputs: &[Input]) {
    for input in inputs {
        hand.take(at(ms), *input);
    }
    hand.take(at(ms), Input::Report);
}

/// All notices that are due at `ms`.
fn notices(hand: &mut Hand, ms: u64) -> Vec<String> {
    std::iter::from_fn(|| hand.notice(at(ms), true))
        .map(|notice| notice.to_string())
        .collect()
}
