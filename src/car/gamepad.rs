//! `[gamepad]`: as written, and checked.

use std::collections::BTreeMap;
use std::path::Path;

use pilotage_config::{ConfigError, Source};
use pilotage_engine::MOST_COMMANDS;
use pilotage_vehicle::{LONGEST_COMMAND, is_command_name};
use serde::Deserialize;

use super::range::{milliseconds, within};
use pilotage_gamepad::{Axis, AxisName, Button, GamepadConfig, Mapping, Rest};

/// `[gamepad]`. If no key that names an axis or a button is set, the mapping of a known gamepad is
/// used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GamepadSettings {
    /// The event device; `None` to search for one that has the needed axes and buttons.
    pub device: Option<String>,
    /// A part of the gamepad's name.
    pub name: Option<String>,
    /// The axis that steers.
    pub steering: Option<String>,
    /// Whether the steering axis is inverted.
    pub steering_inverted: Option<bool>,
    /// The axis of the throttle.
    pub throttle: Option<String>,
    /// Whether the throttle axis is inverted.
    pub throttle_inverted: Option<bool>,
    /// The rest position of the throttle axis.
    pub throttle_rests: Option<Rest>,
    /// The dead-man button: the car moves only while it is held.
    pub dead_man: Option<String>,
    /// The button that arms.
    pub arm: Option<String>,
    /// The button that stops.
    pub stop: Option<String>,
    /// The dead zone as a share of a stick's travel.
    pub dead_zone: f64,
    /// The largest throttle as a share of the guard's limit.
    pub throttle_scale: f64,
    /// Milliseconds.
    pub silence_ms: f64,
    /// The buttons of high-level commands, by the commands' names.
    pub commands: BTreeMap<String, String>,
}

impl Default for GamepadSettings {
    fn default() -> Self {
        Self {
            device: None,
            name: None,
            steering: None,
            steering_inverted: None,
            throttle: None,
            throttle_inverted: None,
            throttle_rests: None,
            dead_man: None,
            arm: None,
            stop: None,
            dead_zone: 0.05,
            throttle_scale: 1.0,
            silence_ms: 500.0,
            commands: BTreeMap::new(),
        }
    }
}

impl GamepadSettings {
    /// Whether any axis or button is named, or an axis' direction or rest is set.
    const fn names_any(&self) -> bool {
        self.steering.is_some()
            || self.steering_inverted.is_some()
            || self.throttle.is_some()
            || self.throttle_inverted.is_some()
            || self.throttle_rests.is_some()
            || self.dead_man.is_some()
            || self.arm.is_some()
            || self.stop.is_some()
    }
}

/// The gamepad that `written` describes.
pub(super) fn gamepad(
    source: &Source<'_>,
    written: &GamepadSettings,
    folder: &Path,
) -> Result<GamepadConfig, ConfigError> {
    let text = |key: &str, text: &Option<String>| match text.as_deref() {
        Some(text) if text.is_empty() || text.contains('\0') => {
            Err(source.error(&format!("gamepad.{key}"), "must not be empty"))
        }
        written => Ok(written.map(str::to_owned)),
    };
    let number = |key: &str, value, range| within(source, &format!("gamepad.{key}"), value, range);
    let mapping = mapping(source, written)?;
    Ok(GamepadConfig {
        device: text("device", &written.device)?.map(|device| folder.join(device)),
        name: text("name", &written.name)?,
        commands: commands(source, written, mapping.unwrap_or_default())?,
        mapping,
        dead_zone: number("dead_zone", written.dead_zone, 0.0..=0.5)? as f32,
        throttle_scale: number("throttle_scale", written.throttle_scale, 0.01..=1.0)? as f32,
        silence: milliseconds(number("silence_ms", written.silence_ms, 50.0..=5000.0)?),
    })
}

/// The buttons of high-level commands, in the order of the names.
fn commands(
    source: &Source<'_>,
    written: &GamepadSettings,
    mapping: Mapping,
) -> Result<Vec<(String, Button)>, ConfigError> {
    let wrong =
        |name: &str, reason: String| source.error(&format!("gamepad.commands.{name}"), reason);
    if written.commands.len() > MOST_COMMANDS {
        return Err(source.error(
            "gamepad.commands",
            format!("must be {MOST_COMMANDS} at most"),
        ));
    }
    let mut found: Vec<(String, Button)> = Vec::new();
    for (name, button) in &written.commands {
        if !is_command_name(name) {
            let reason = format!(
                "is not the name of a command: lower-case letters, digits, _ and -, at most {LONGEST_COMMAND}"
            );
            return Err(wrong(name, reason));
        }
        let button: Button = button
            .parse()
            .map_err(|error| source.error(&format!("gamepad.commands.{name}"), error))?;
        let others = [
            ("dead_man", mapping.dead_man),
            ("arm", mapping.arm),
            ("stop", mapping.stop),
        ];
        let commands = found.iter().map(|(key, other)| (key.as_str(), *other));
        if let Some((other, _)) = others
            .into_iter()
            .chain(commands)
            .find(|(_, used)| *used == button)
        {
            let reason = format!("is {button}, and so is `{other}`: name another button");
            return Err(wrong(name, reason));
        }
        found.push((name.clone(), button));
    }
    Ok(found)
}

/// The written mapping, completed from the default mapping; `None` if nothing is written.
fn mapping(source: &Source<'_>, written: &GamepadSettings) -> Result<Option<Mapping>, ConfigError> {
    if !written.names_any() {
        return Ok(None);
    }
    let usual = Mapping::default();
    let axis = |key: &str, name: &Option<String>, usual: AxisName| {
        let named = name.as_deref().map_or(Ok(usual), str::parse::<AxisName>);
        named.map_err(|error| source.error(&format!("gamepad.{key}"), error))
    };
    let button = |key: &str, name: &Option<String>, usual: Button| {
        let named = name.as_deref().map_or(Ok(usual), str::parse::<Button>);
        named.map_err(|error| source.error(&format!("gamepad.{key}"), error))
    };
    let mapping = Mapping {
        steering: Axis {
            axis: axis("steering", &written.steering, usual.steering.axis)?,
            rest: Rest::Middle,
            inverted: written.steering_inverted.unwrap_or(false),
        },
        throttle: Axis {
            axis: axis("throttle", &written.throttle, usual.throttle.axis)?,
            rest: written.throttle_rests.unwrap_or(Rest::Middle),
            inverted: written.throttle_inverted.unwrap_or(false),
        },
        dead_man: button("dead_man", &written.dead_man, usual.dead_man)?,
        arm: button("arm", &written.arm, usual.arm)?,
        stop: button("stop", &written.stop, usual.stop)?,
    };
    apart(source, &mapping)?;
    Ok(Some(mapping))
}

/// Checks that no axis or button has two purposes: it would do both at once.
fn apart(source: &Source<'_>, config: &Mapping) -> Result<(), ConfigError> {
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
