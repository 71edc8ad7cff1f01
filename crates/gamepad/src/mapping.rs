//! The mapping of a gamepad's axes and buttons, and their names.

use std::fmt;
use std::str::FromStr;

use evdev::{AbsoluteAxisCode, KeyCode};
use pilotage_config::nearest;

/// The mapping of a gamepad's axes and buttons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Left and right.
    pub steering: Axis,
    /// Ahead and back.
    pub throttle: Axis,
    /// The car moves only while this button is held.
    pub dead_man: Button,
    /// Arms the car.
    pub arm: Button,
    /// Stops the car.
    pub stop: Button,
}

/// An axis, its rest position and its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// The axis.
    pub axis: AxisName,
    /// The position when it is released.
    pub rest: Rest,
    /// The direction is reversed.
    pub inverted: bool,
}

/// The position of an axis when it is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rest {
    /// The middle: a stick.
    Middle,
    /// The least value: a trigger.
    End,
}

/// An axis by the kernel's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxisName(pub u16);

/// A button by the kernel's code.
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

/// ABS_X to ABS_HAT3Y: the codes of sticks, triggers and directional pads.
const AXES: std::ops::RangeInclusive<u16> = 0x00..=0x17;
/// BTN_MISC to the last of BTN_TRIGGER_HAPPY.
const BUTTONS: std::ops::RangeInclusive<u16> = 0x100..=0x2e7;

/// Alternative names of buttons in input-event-codes.h.
const ALIASES: [(&str, u16); 4] = [
    ("BTN_A", 0x130),
    ("BTN_B", 0x131),
    ("BTN_X", 0x133),
    ("BTN_Y", 0x134),
];

impl AxisName {
    /// Whether car.toml can name the axis.
    pub fn has_name(self) -> bool {
        AXES.contains(&self.0) && self.to_string().starts_with("ABS_")
    }
}

impl Button {
    /// Whether car.toml can name the button.
    pub fn has_name(self) -> bool {
        BUTTONS.contains(&self.0) && self.to_string().starts_with("BTN_")
    }
}

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

/// The code of `name`, which is one of `named` and begins with `start`.
fn find(
    what: &'static str,
    start: &str,
    name: &str,
    named: Vec<(String, u16)>,
    such: &str,
) -> Result<u16, UnknownName> {
    // Codes without a name are formatted differently, and are skipped.
    let named = named.iter().filter(|(known, _)| known.starts_with(start));
    let named: Vec<_> = named.map(|(known, code)| (known.as_str(), *code)).collect();
    if let Some((_, code)) = named.iter().find(|(known, _)| *known == name) {
        return Ok(*code);
    }
    // The prefix is removed, because it would make all names similar to each other.
    let short = |name: &str| name.to_lowercase().replacen(&start.to_lowercase(), "", 1);
    let known: Vec<String> = named.iter().map(|(known, _)| short(known)).collect();
    let meant = nearest(&short(name), known.iter().map(String::as_str)).map_or_else(
        || format!("name one such as {such}; `pilotage gamepad` shows what a gamepad has"),
        |meant| format!("did you mean `{start}{}`?", meant.to_uppercase()),
    );
    Err(UnknownName {
        what,
        name: name.to_owned(),
        meant,
    })
}

impl Default for Mapping {
    /// The layout of the kernel's Documentation/input/gamepad.rst, which xpad, hid-playstation,
    /// hid-sony and hid-nintendo follow: left stick, right stick; left shoulder button, start, and
    /// the right one of the four.
    fn default() -> Self {
        let axis = |code| Axis {
            axis: AxisName(code),
            rest: Rest::Middle,
            inverted: false,
        };
        Self {
            steering: axis(AbsoluteAxisCode::ABS_X.0),
            throttle: axis(AbsoluteAxisCode::ABS_RY.0),
            dead_man: Button(KeyCode::BTN_TL.0),
            arm: Button(KeyCode::BTN_START.0),
            stop: Button(KeyCode::BTN_EAST.0),
        }
    }
}

impl Mapping {
    /// The buttons that are needed.
    pub(super) const fn buttons(&self) -> [Button; 3] {
        [self.dead_man, self.arm, self.stop]
    }

    /// The axes that are needed: steering, throttle.
    pub(super) const fn axes(&self) -> [AxisName; 2] {
        [self.steering.axis, self.throttle.axis]
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [steering, throttle] = self.axes();
        let [dead_man, arm, stop] = self.buttons();
        write!(f, "{steering}, {throttle}, {dead_man}, {arm}, {stop}")
    }
}
