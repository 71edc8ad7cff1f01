//! What car.toml's `[gamepad]` means.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use evdev::{AbsoluteAxisCode, KeyCode};
use pilotage_config::nearest;

/// A gamepad, and what its axes and buttons are for.
#[derive(Debug, Clone, PartialEq)]
pub struct GamepadConfig {
    /// Its node; one with the axes and buttons below is looked for when none.
    pub device: Option<PathBuf>,
    /// A part of the name that it has to have.
    pub name: Option<String>,
    /// Left and right.
    pub steering: Axis,
    /// Ahead and back.
    pub throttle: Axis,
    /// The car moves only while it is held.
    pub dead_man: Button,
    /// Arms the car.
    pub arm: Button,
    /// Stops the car.
    pub stop: Button,
    /// The share of a stick's way about its middle that counts as the middle.
    pub dead_zone: f32,
    /// The share of the guard's throttle limit that full throttle is.
    pub throttle_scale: f32,
    /// After so long without an event the car is told to stand.
    pub silence: Duration,
}

/// An axis, and which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Which.
    pub axis: AxisName,
    /// Where it is when it is let go.
    pub rest: Rest,
    /// The other way about.
    pub inverted: bool,
}

/// Where an axis is when it is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rest {
    /// Half way: a stick.
    Middle,
    /// At its least value: a trigger.
    End,
}

/// An axis by the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxisName(pub u16);

/// A button by the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Button(pub u16);

/// The kernel has no such name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel has no {what} `{name}`: {meant}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    meant: String,
}

/// ABS_X to ABS_HAT3Y: what a stick, a trigger or a cross can be.
const AXES: std::ops::RangeInclusive<u16> = 0x00..=0x17;
/// BTN_MISC to the last of BTN_TRIGGER_HAPPY.
const BUTTONS: std::ops::RangeInclusive<u16> = 0x100..=0x2e7;

/// Second names that input-event-codes.h gives buttons.
const ALIASES: [(&str, u16); 4] = [
    ("BTN_A", 0x130),
    ("BTN_B", 0x131),
    ("BTN_X", 0x133),
    ("BTN_Y", 0x134),
];

impl fmt::Display for AxisName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", AbsoluteAxisCode(self.0))
    }
}

impl fmt::Display for Button {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", KeyCode(self.0))
    }
}

impl FromStr for AxisName {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let named = AXES.map(|code| (AxisName(code).to_string(), code));
        find("axis", "ABS_", name, named.collect(), "ABS_X or ABS_RY").map(Self)
    }
}

impl FromStr for Button {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let mut named: Vec<_> = BUTTONS
            .map(|code| (Button(code).to_string(), code))
            .collect();
        named.extend(ALIASES.map(|(name, code)| (name.to_owned(), code)));
        find("button", "BTN_", name, named, "BTN_TL or BTN_START").map(Self)
    }
}

/// The number of `name`, which is one of `named` and begins with `start`.
fn find(
    what: &'static str,
    start: &str,
    name: &str,
    named: Vec<(String, u16)>,
    such: &str,
) -> Result<u16, UnknownName> {
    // Numbers that have no name are shown as something else.
    let named = named.iter().filter(|(known, _)| known.starts_with(start));
    let named: Vec<_> = named.map(|(known, code)| (known.as_str(), *code)).collect();
    if let Some((_, code)) = named.iter().find(|(known, _)| *known == name) {
        return Ok(*code);
    }
    // What all names begin with would make each look like the other.
    let short = |name: &str| name.to_lowercase().replacen(&start.to_lowercase(), "", 1);
    let known: Vec<String> = named.iter().map(|(known, _)| short(known)).collect();
    let meant = nearest(&short(name), known.iter().map(String::as_str)).map_or_else(
        || format!("name one such as {such}; `evtest` shows what a gamepad has"),
        |meant| format!("did you mean `{start}{}`?", meant.to_uppercase()),
    );
    Err(UnknownName {
        what,
        name: name.to_owned(),
        meant,
    })
}

impl Default for GamepadConfig {
    /// Of an Xbox or PlayStation pad by the kernel's drivers: left stick, right stick; left
    /// shoulder button, start, and the right one of four.
    fn default() -> Self {
        let axis = |code| Axis {
            axis: AxisName(code),
            rest: Rest::Middle,
            inverted: false,
        };
        Self {
            device: None,
            name: None,
            steering: axis(AbsoluteAxisCode::ABS_X.0),
            throttle: axis(AbsoluteAxisCode::ABS_RY.0),
            dead_man: Button(KeyCode::BTN_TL.0),
            arm: Button(KeyCode::BTN_START.0),
            stop: Button(KeyCode::BTN_EAST.0),
            dead_zone: 0.05,
            throttle_scale: 1.0,
            silence: Duration::from_millis(500),
        }
    }
}

impl GamepadConfig {
    /// The buttons it must have.
    pub(super) const fn buttons(&self) -> [Button; 3] {
        [self.dead_man, self.arm, self.stop]
    }

    /// The axes it must have: steering, throttle.
    pub(super) const fn axes(&self) -> [AxisName; 2] {
        [self.steering.axis, self.throttle.axis]
    }

    /// What it must have, in words.
    pub fn wanted(&self) -> String {
        let [steering, throttle] = self.axes();
        let [dead_man, arm, stop] = self.buttons();
        let what = format!("{steering}, {throttle}, {dead_man}, {arm}, {stop}");
        match &self.name {
            Some(name) => format!("{what}, `{name}` in its name"),
            None => what,
        }
    }
}
