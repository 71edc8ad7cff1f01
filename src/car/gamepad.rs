//! `[gamepad]`: as written, and what it means.

use std::path::Path;

use pilotage_config::{ConfigError, Source};
use serde::Deserialize;

use super::validate::{milliseconds, within};
use crate::gamepad::{Axis, AxisName, Button, GamepadConfig, Rest};

/// `[gamepad]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GamepadSettings {
    /// Its event device; looked for by what it has when none.
    pub device: Option<String>,
    /// A part of its name.
    pub name: Option<String>,
    /// The axis that steers.
    pub steering: String,
    /// Whether that goes the other way.
    pub steering_inverted: bool,
    /// The axis of the throttle.
    pub throttle: String,
    /// Whether that goes the other way.
    pub throttle_inverted: bool,
    /// Where that is when it is let go.
    pub throttle_rests: Rest,
    /// The button without which nothing moves.
    pub dead_man: String,
    /// The button that arms.
    pub arm: String,
    /// The button that stops.
    pub stop: String,
    /// Share of a stick's way.
    pub dead_zone: f64,
    /// Share of the guard's limit.
    pub throttle_scale: f64,
    /// Milliseconds.
    pub silence_ms: f64,
}

impl Default for GamepadSettings {
    fn default() -> Self {
        Self {
            device: None,
            name: None,
            steering: "ABS_X".to_owned(),
            steering_inverted: false,
            throttle: "ABS_RY".to_owned(),
            throttle_inverted: false,
            throttle_rests: Rest::Middle,
            dead_man: "BTN_TL".to_owned(),
            arm: "BTN_START".to_owned(),
            stop: "BTN_EAST".to_owned(),
            dead_zone: 0.05,
            throttle_scale: 1.0,
            silence_ms: 500.0,
        }
    }
}

/// The gamepad that `written` describes.
pub(super) fn gamepad(
    source: &Source<'_>,
    written: &GamepadSettings,
    folder: &Path,
) -> Result<GamepadConfig, ConfigError> {
    let axis = |key: &str, name: &str| {
        let named = name.parse::<AxisName>();
        named.map_err(|error| source.error(&format!("gamepad.{key}"), error))
    };
    let button = |key: &str, name: &str| {
        let named = name.parse::<Button>();
        named.map_err(|error| source.error(&format!("gamepad.{key}"), error))
    };
    let text = |key: &str, text: &Option<String>| match text.as_deref() {
        Some(text) if text.is_empty() || text.contains('\0') => {
            Err(source.error(&format!("gamepad.{key}"), "must not be empty"))
        }
        written => Ok(written.map(str::to_owned)),
    };
    let number = |key: &str, value, range| within(source, &format!("gamepad.{key}"), value, range);
    let config = GamepadConfig {
        device: text("device", &written.device)?.map(|device| folder.join(device)),
        name: text("name", &written.name)?,
        steering: Axis {
            axis: axis("steering", &written.steering)?,
            rest: Rest::Middle,
            inverted: written.steering_inverted,
        },
        throttle: Axis {
            axis: axis("throttle", &written.throttle)?,
            rest: written.throttle_rests,
            inverted: written.throttle_inverted,
        },
        dead_man: button("dead_man", &written.dead_man)?,
        arm: button("arm", &written.arm)?,
        stop: button("stop", &written.stop)?,
        dead_zone: number("dead_zone", written.dead_zone, 0.0..=0.5)? as f32,
        throttle_scale: number("throttle_scale", written.throttle_scale, 0.01..=1.0)? as f32,
        silence: milliseconds(number("silence_ms", written.silence_ms, 50.0..=5000.0)?),
    };
    apart(source, &config)?;
    Ok(config)
}

/// One for two things would do both at once.
fn apart(source: &Source<'_>, config: &GamepadConfig) -> Result<(), ConfigError> {
    if config.steering.axis == config.throttle.axis {
        let axis = config.steering.axis;
        let problem = format!("is {axis}, and so is `gamepad.steering`: one axis cannot do both");
        return Err(source.error("gamepad.throttle", problem));
    }
    let buttons = [
        ("dead_man", config.dead_man),
        ("arm", config.arm),
        ("stop", config.stop),
    ];
    for (index, (key, button)) in buttons.iter().enumerate() {
        if let Some((other, _)) = buttons[..index].iter().find(|(_, used)| used == button) {
            let problem = format!("is {button}, and so is `gamepad.{other}`: name another button");
            return Err(source.error(&format!("gamepad.{key}"), problem));
        }
    }
    Ok(())
}
