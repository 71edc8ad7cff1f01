//! From events to what a person wants of the car. Pure: time comes in as an argument.

use std::time::Duration;

use pilotage_guard::Limits;
use pilotage_vehicle::Time;

use super::config::{Axis, GamepadConfig, Rest};

/// What a gamepad says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// An axis has moved.
    Axis {
        /// The kernel's number of it.
        code: u16,
        /// Where to.
        value: i32,
    },
    /// A button was pressed or let go.
    Button {
        /// The kernel's number of it.
        code: u16,
        /// Which of the two.
        pressed: bool,
    },
    /// Something of no meaning here.
    Other,
    /// What belongs together is complete.
    Report,
    /// The kernel had no room for more events, and threw some away.
    Dropped,
}

/// How a gamepad is, as the kernel knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Where the steering axis is; nothing was said of it when none.
    pub steering: Option<i32>,
    /// Where the throttle axis is.
    pub throttle: Option<i32>,
    /// Whether the dead-man button is down.
    pub dead_man: bool,
    /// Whether the arm button is.
    pub arm: bool,
    /// Whether the stop button is.
    pub stop: bool,
}

/// The values that an axis can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub least: i32,
    /// The most.
    pub most: i32,
}

/// What a person wants of the car.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Wish {
    /// -1 (full right) to 1 (full left), within the guard's limits; 0 unless driven.
    pub steering: f32,
    /// Within the guard's limits; 0 unless driven.
    pub throttle: f32,
    /// The dead-man button is held and the gamepad is not silent.
    pub driven: bool,
}

/// Buttons that were pressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presses {
    /// Somebody arms the car.
    pub arm: bool,
    /// Somebody stops it.
    pub stop: bool,
}

/// What of the gamepad is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing; it has to be asked.
    Unasked,
    /// The next report says how it is.
    Collecting,
    /// Events were thrown away; those up to the next report are useless.
    Broken,
    /// All.
    All,
}

/// A button, of which presses count and not that it is down.
#[derive(Debug, Clone, Copy, Default)]
struct Key {
    down: bool,
    /// It went down before our eyes.
    pressed: bool,
}

impl Key {
    /// Whether this is a press.
    const fn set(&mut self, down: bool) -> bool {
        let press = down && !self.down;
        self.pressed = down && (self.pressed || press);
        self.down = down;
        press
    }

    /// It was found like that: down, it has to be let go first.
    const fn found(&mut self, down: bool) {
        *self = Self {
            down,
            pressed: false,
        };
    }
}

/// What a person does with a gamepad.
#[derive(Debug, Clone)]
pub struct Hand {
    config: GamepadConfig,
    ranges: [Range; 2],
    steering_limits: (f32, f32),
    throttle_limits: (f32, f32),
    known: Known,
    steering: Option<i32>,
    throttle: Option<i32>,
    dead_man: Key,
    arm: Key,
    stop: Key,
    presses: Presses,
    /// The last event's moment.
    heard: Option<Time>,
}

impl Hand {
    /// Of a gamepad whose steering and throttle axes have `ranges`, on a car held to
    /// `limits`. Nothing is known of it yet.
    pub fn new(config: &GamepadConfig, ranges: [Range; 2], limits: &Limits) -> Self {
        let spec = limits.spec();
        Self {
            config: config.clone(),
            ranges,
            steering_limits: (spec.steering.min, spec.steering.max),
            throttle_limits: (spec.throttle.min, spec.throttle.max),
            known: Known::Unasked,
            steering: None,
            throttle: None,
            dead_man: Key::default(),
            arm: Key::default(),
            stop: Key::default(),
            presses: Presses::default(),
            heard: None,
        }
    }

    /// Whether the gamepad is to be asked how it is: [`know`](Self::know) takes the answer.
    pub fn wants_state(&self) -> bool {
        self.known == Known::Unasked
    }

    /// Whether what was heard is all there is to know.
    pub(super) fn is_known(&self) -> bool {
        self.known == Known::All
    }

    /// The gamepad is like that. What is held down counts for nothing until it was let go
    /// and pressed again, but for the stop button.
    pub fn know(&mut self, now: Time, snapshot: Snapshot) {
        self.known = Known::All;
        self.steering = snapshot.steering;
        self.throttle = snapshot.throttle;
        self.dead_man.found(snapshot.dead_man);
        self.arm.found(snapshot.arm);
        self.stop.found(snapshot.stop);
        self.presses.stop |= snapshot.stop;
        self.heard = Some(now);
    }

    /// Nobody can say how the gamepad is: its next report will.
    pub fn collect(&mut self) {
        self.know(Time::ZERO, Snapshot::default());
        self.known = Known::Collecting;
        self.heard = None;
    }

    /// Takes an input that came at `now`.
    pub fn take(&mut self, now: Time, input: Input) {
        match (self.known, input) {
            (_, Input::Dropped) => {
                self.known = Known::Broken;
                // What the car did with it held is no longer known to be wanted.
                self.dead_man.found(true);
            }
            (Known::Broken, Input::Report) => self.known = Known::Unasked,
            (Known::Collecting, Input::Report) => self.known = Known::All,
            (Known::Broken | Known::Unasked, _) | (Known::All, Input::Report) => {}
            (_, Input::Other) => self.heard = Some(now),
            (_, Input::Axis { code, value }) => {
                self.heard = Some(now);
                if code == self.config.steering.axis.0 {
                    self.steering = Some(value);
                } else if code == self.config.throttle.axis.0 {
                    self.throttle = Some(value);
                }
            }
            (known, Input::Button { code, pressed }) => {
                self.heard = Some(now);
                self.button(code, pressed, known == Known::Collecting);
            }
        }
    }

    fn button(&mut self, code: u16, pressed: bool, found: bool) {
        if code == self.config.dead_man.0 {
            match found {
                true => self.dead_man.found(pressed),
                false => _ = self.dead_man.set(pressed),
            }
        } else if code == self.config.arm.0 {
            match found {
                true => self.arm.found(pressed),
                false => self.presses.arm |= self.arm.set(pressed),
            }
        } else if code == self.config.stop.0 {
            // Found down or pressed: a stop is never one too many.
            self.presses.stop |= self.stop.set(pressed);
        }
    }

    /// What was pressed since the last call.
    pub fn take_presses(&mut self) -> Presses {
        std::mem::take(&mut self.presses)
    }

    /// What the car is to do at `now`: to stand, unless the dead-man button is held, was
    /// pressed while we looked, and the gamepad has said something within `silence`.
    pub fn wish(&self, now: Time) -> Wish {
        let silence: Duration = self.config.silence;
        let heard = self.heard.is_some_and(|heard| now.since(heard) < silence);
        if !(heard && self.dead_man.pressed && self.known == Known::All) {
            return Wish::default();
        }
        let at = |axis: &Axis, value: Option<i32>, range: Range| {
            value.map_or(0.0, |value| {
                place(axis, value, range, self.config.dead_zone)
            })
        };
        let [steering, throttle] = self.ranges;
        // The kernel's axes grow to the right and towards the person.
        let steering = -at(&self.config.steering, self.steering, steering);
        let pulled = at(&self.config.throttle, self.throttle, throttle);
        let ahead = match self.config.throttle.rest {
            Rest::Middle => -pulled,
            Rest::End => pulled,
        };
        let (least, most) = self.throttle_limits;
        let limit = if ahead < 0.0 { -least } else { most };
        let throttle = ahead * limit * self.config.throttle_scale;
        Wish {
            steering: held(steering, self.steering_limits),
            throttle: held(throttle, self.throttle_limits),
            driven: true,
        }
    }
}

/// Within limits; without the zero that has a sign.
fn held(value: f32, (least, most): (f32, f32)) -> f32 {
    value.max(least).min(most) + 0.0
}

/// Where an axis is, -1 to 1 about its middle or 0 to 1 from its end.
fn place(axis: &Axis, value: i32, range: Range, dead_zone: f32) -> f32 {
    let (least, most) = (f64::from(range.least), f64::from(range.most));
    if most <= least {
        return 0.0;
    }
    let share = ((f64::from(value) - least) / (most - least)).clamp(0.0, 1.0) as f32;
    let way = match axis.rest {
        Rest::Middle => 2.0 * share - 1.0,
        Rest::End => share,
    };
    let beyond = (way.abs() - dead_zone).max(0.0) / (1.0 - dead_zone);
    let way = beyond.min(1.0).copysign(way);
    if axis.inverted { -way } else { way }
}
