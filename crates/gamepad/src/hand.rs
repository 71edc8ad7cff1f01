//! Converts events to the operator's request. Pure: time is passed as an argument.

use std::time::Duration;

use pilotage_guard_policy::Limits;
use pilotage_vehicle::Time;

use super::axis::{DrivingAxis, Range};
use super::config::GamepadConfig;
use super::mapping::{Mapping, Rest};
use super::notice::{Notice, Noticed};

/// An input of a gamepad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// An axis has moved.
    Axis {
        /// The kernel's code of the axis.
        code: u16,
        /// The new value.
        value: i32,
    },
    /// A button was pressed or released.
    Button {
        /// The kernel's code of the button.
        code: u16,
        /// Whether it was pressed.
        pressed: bool,
    },
    /// An input that is not used here.
    Other,
    /// The events of one moment are complete.
    Report,
    /// The kernel's buffer was full, and events were dropped.
    Dropped,
}

/// The state of a gamepad, from the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The value of the steering axis; `None` if unknown.
    pub steering: Option<i32>,
    /// The value of the throttle axis.
    pub throttle: Option<i32>,
    /// Whether the dead-man button is down.
    pub dead_man: bool,
    /// Whether the arm button is down.
    pub arm: bool,
    /// Whether the stop button is down.
    pub stop: bool,
}

/// The driving that the operator requests.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DriveRequest {
    /// -1 (full right) to 1 (full left), within the guard's limits; 0 unless driven.
    pub steering: f32,
    /// Within the guard's limits; 0 unless driven.
    pub throttle: f32,
    /// The dead-man button is held, the stop button is not, and the gamepad is not silent.
    pub driven: bool,
}

/// Button presses, and the stop button's level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presses {
    /// The operator arms the car.
    pub arm: bool,
    /// The operator stops the car.
    pub stop: bool,
    /// The stop button is held.
    pub stop_held: bool,
    /// The arm button was pressed while the stop button was held, which arms nothing.
    pub arm_dropped: bool,
    /// The place of the last high-level command in [`GamepadConfig::commands`] whose button was pressed.
    pub command: Option<usize>,
}

/// How much of the gamepad's state is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing; the state must be queried.
    Unasked,
    /// Nothing; the next report will contain the state.
    Collecting,
    /// Events were dropped; those up to the next report must be ignored.
    Broken,
    /// Everything.
    All,
}

/// A button whose presses count, and not its level.
#[derive(Debug, Clone, Copy, Default)]
struct Key {
    down: bool,
    /// It was pressed while its state was known, and is still down.
    pressed: bool,
}

impl Key {
    /// Sets the level; returns whether this is a press.
    const fn set(&mut self, down: bool) -> bool {
        let press = down && !self.down;
        self.pressed = down && (self.pressed || press);
        self.down = down;
        press
    }

    /// Sets the level at which the button was found. A button found down must be released first.
    const fn found(&mut self, down: bool) {
        *self = Self {
            down,
            pressed: false,
        };
    }
}

/// The operator's hand on a gamepad.
#[derive(Debug, Clone)]
pub struct Hand {
    mapping: Mapping,
    throttle_scale: f32,
    silence: Duration,
    steering_limits: (f32, f32),
    throttle_limits: (f32, f32),
    known: Known,
    /// Events have arrived since the last complete report.
    in_report: bool,
    steering: DrivingAxis,
    throttle: DrivingAxis,
    dead_man: Key,
    arm: Key,
    stop: Key,
    /// The codes of the buttons of high-level commands.
    commands: Vec<u16>,
    stop_tested: bool,
    presses: Presses,
    /// The time of the latest event.
    last_event: Option<Time>,
    /// The time when the axes were last locked.
    locked: Time,
    noticed: Noticed,
}

impl Hand {
    /// For a gamepad with `mapping`, whose steering and throttle axes have `ranges`, on a car with
    /// `limits`. Its state is not known yet.
    pub fn new(
        config: &GamepadConfig,
        mapping: &Mapping,
        ranges: [Range; 2],
        limits: &Limits,
    ) -> Self {
        let spec = limits.spec();
        let [steering, throttle] = ranges;
        Self {
            mapping: *mapping,
            throttle_scale: config.throttle_scale,
            silence: config.silence,
            steering_limits: (spec.steering.min, spec.steering.max),
            throttle_limits: (spec.throttle.min, spec.throttle.max),
            known: Known::Unasked,
            in_report: false,
            steering: DrivingAxis::new(mapping.steering, steering, config.dead_zone),
            throttle: DrivingAxis::new(mapping.throttle, throttle, config.dead_zone),
            dead_man: Key::default(),
            arm: Key::default(),
            stop: Key::default(),
            commands: config.commands.iter().map(|(_, button)| button.0).collect(),
            stop_tested: false,
            presses: Presses::default(),
            last_event: None,
            locked: Time::ZERO,
            noticed: Noticed::default(),
        }
    }

    /// The stop button needs no test.
    pub(super) const fn trust_stop(&mut self) {
        self.stop_tested = true;
        self.noticed.stop_known();
    }

    /// Whether the gamepad's state must be queried; pass the result to [`know`](Self::know).
    pub fn wants_state(&self) -> bool {
        self.known == Known::Unasked
    }

    /// Whether the complete state is known.
    pub(super) fn is_known(&self) -> bool {
        self.known == Known::All
    }

    /// The stop button is held: nothing arms, and nothing moves.
    pub const fn stop_held(&self) -> bool {
        self.stop.down
    }

    /// The stop button was pressed since the gamepad was opened.
    pub const fn stop_tested(&self) -> bool {
        self.stop_tested
    }

    /// Sets the gamepad's state. Buttons that are down have no effect until they are released and
    /// pressed again, except for the stop button.
    pub fn know(&mut self, now: Time, snapshot: Snapshot) {
        self.known = Known::All;
        self.in_report = false;
        for (axis, value) in [
            (&mut self.steering, snapshot.steering),
            (&mut self.throttle, snapshot.throttle),
        ] {
            match value {
                Some(value) => axis.set(now, value),
                None => axis.forget(),
            }
        }
        self.lock(now);
        self.dead_man.found(snapshot.dead_man);
        self.arm.found(snapshot.arm);
        self.stop.found(snapshot.stop);
        self.presses.stop |= snapshot.stop;
        self.last_event = Some(now);
    }

    /// The gamepad's state cannot be queried: wait for its next report.
    pub fn collect(&mut self) {
        self.know(Time::ZERO, Snapshot::default());
        self.known = Known::Collecting;
        self.last_event = None;
    }

    /// The guard has been armed: each axis must be seen at rest again.
    pub fn armed(&mut self, now: Time) {
        self.lock(now);
        // Within a report, an axis' known position may be older than the arming.
        if !self.in_report && self.known == Known::All {
            self.steering.settle();
            self.throttle.settle();
        }
    }

    /// Takes an input that arrived at `now`.
    pub fn take(&mut self, now: Time, input: Input) {
        match (self.known, input) {
            (_, Input::Dropped) => {
                self.known = Known::Broken;
                // Whether the dead-man button is still held is unknown.
                self.dead_man.found(true);
                self.lock(now);
            }
            (Known::Broken, Input::Report) => self.known = Known::Unasked,
            (Known::Collecting, Input::Report) => {
                self.known = Known::All;
                self.reported();
            }
            (Known::All, Input::Report) => self.reported(),
            (Known::Broken | Known::Unasked, Input::Button { code, pressed }) => {
                // However old the press is: a superfluous stop does no harm.
                self.presses.stop |= pressed && code == self.mapping.stop.0;
            }
            (Known::Broken | Known::Unasked, _) => {}
            (_, Input::Other) => self.event(now),
            (_, Input::Axis { code, value }) => {
                self.event(now);
                if code == self.mapping.steering.axis.0 {
                    self.steering.set(now, value);
                } else if code == self.mapping.throttle.axis.0 {
                    self.throttle.set(now, value);
                }
            }
            (known, Input::Button { code, pressed }) => {
                self.event(now);
                self.button(now, code, pressed, known == Known::Collecting);
            }
        }
    }

    const fn event(&mut self, now: Time) {
        self.last_event = Some(now);
        self.in_report = true;
    }

    fn reported(&mut self) {
        self.in_report = false;
        self.steering.reported();
        self.throttle.reported();
    }

    fn button(&mut self, now: Time, code: u16, pressed: bool, found: bool) {
        if code == self.mapping.dead_man.0 {
            if found {
                self.dead_man.found(pressed);
            } else if self.dead_man.set(pressed) {
                self.steering.pressed(now);
                self.throttle.pressed(now);
                self.lock(now);
            }
        } else if code == self.mapping.arm.0 {
            if found {
                self.arm.found(pressed);
            } else if self.arm.set(pressed) {
                match self.stop.down {
                    true => self.presses.arm_dropped = true,
                    false => self.presses.arm = true,
                }
            }
        } else if code == self.mapping.stop.0 {
            // Found down or pressed: a superfluous stop does no harm.
            let press = self.stop.set(pressed);
            self.presses.stop |= press;
            self.stop_tested |= press && !found;
        } else if pressed && !found {
            let command = self.commands.iter().position(|&command| command == code);
            self.presses.command = command.or(self.presses.command);
        }
    }

    const fn lock(&mut self, now: Time) {
        self.steering.lock();
        self.throttle.lock();
        self.locked = now;
        self.noticed.not_at_rest = false;
    }

    /// The presses since the last call, and the stop button's level.
    pub fn take_presses(&mut self) -> Presses {
        let mut presses = std::mem::take(&mut self.presses);
        presses.stop_held = self.stop.down;
        presses
    }

    /// The next notice for the operator, each once; notices on axes only if the axes drive
    /// (`drives`).
    pub fn notice(&mut self, now: Time, drives: bool) -> Option<Notice> {
        if self.known != Known::All {
            return None;
        }
        let held = self.request(now).driven;
        let (noticed, stop) = (&mut self.noticed, self.mapping.stop);
        let axes = [&self.steering, &self.throttle];
        if let Some(notice) = noticed.stop(stop, self.stop_tested) {
            return Some(notice);
        }
        if !drives {
            return None;
        }
        if let Some(notice) = noticed.rests_elsewhere(now, axes) {
            return Some(notice);
        }
        match held {
            true => noticed.not_at_rest(now, self.locked, axes),
            false => None,
        }
    }

    /// The operator's request at `now`. The car moves only if the dead-man button was pressed while
    /// its state was known and is still held, the stop button is not held, and the gamepad has
    /// reported something within `silence`. An axis that was not seen at rest since then commands
    /// nothing.
    pub fn request(&self, now: Time) -> DriveRequest {
        let silence: Duration = self.silence;
        let fresh = |last: Time| now.since(last) < silence;
        let held = self.dead_man.pressed && !self.stop.down;
        if !(held && self.known == Known::All && self.last_event.is_some_and(fresh)) {
            return DriveRequest::default();
        }
        // The kernel's axes grow to the right and towards the operator.
        let steering = -self.steering.command();
        let ahead = match self.mapping.throttle.rest {
            Rest::Middle => -self.throttle.command(),
            Rest::End => self.throttle.command(),
        };
        let (least, most) = self.throttle_limits;
        let limit = if ahead < 0.0 { -least } else { most };
        let throttle = ahead * limit * self.throttle_scale;
        DriveRequest {
            steering: within(steering, self.steering_limits),
            throttle: within(throttle, self.throttle_limits),
            driven: true,
        }
    }
}

/// Clamps to the limits; `+ 0.0` converts -0 to 0.
fn within(value: f32, (least, most): (f32, f32)) -> f32 {
    value.max(least).min(most) + 0.0
}
