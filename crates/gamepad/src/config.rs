//! The checked `[gamepad]` of car.toml.

use std::path::PathBuf;
use std::time::Duration;

use super::capabilities::Capabilities;
use super::known;
use super::mapping::{Button, Mapping};

/// A gamepad, and how it drives.
#[derive(Debug, Clone, PartialEq)]
pub struct GamepadConfig {
    /// The event device; `None` to search for one with the needed axes and buttons.
    pub device: Option<PathBuf>,
    /// A part of the name that the device must have.
    pub name: Option<String>,
    /// The mapping of axes and buttons; `None` for the known gamepad's mapping, or the default one
    /// if the gamepad is not known.
    pub mapping: Option<Mapping>,
    /// The share of a stick's travel around its rest position that counts as rest.
    pub dead_zone: f32,
    /// Full throttle as a share of the guard's throttle limit.
    pub throttle_scale: f32,
    /// After this long without an event the car is commanded to stand still.
    pub silence: Duration,
    /// Names of high-level commands, and the button that sets each.
    pub commands: Vec<(String, Button)>,
}

impl Default for GamepadConfig {
    fn default() -> Self {
        Self {
            device: None,
            name: None,
            mapping: None,
            dead_zone: 0.05,
            throttle_scale: 1.0,
            silence: Duration::from_millis(500),
            commands: Vec::new(),
        }
    }
}

impl GamepadConfig {
    /// The mapping for a device with `capabilities`.
    pub fn mapping_of(&self, capabilities: &Capabilities) -> Mapping {
        self.mapping.unwrap_or_else(|| {
            known::find(capabilities).map_or_else(Mapping::default, |pad| pad.mapping)
        })
    }

    /// What a gamepad must have, as text.
    pub fn wanted(&self) -> String {
        let what = match &self.mapping {
            Some(mapping) => mapping.to_string(),
            None => format!("those of a known pad, or {}", Mapping::default()),
        };
        match &self.name {
            Some(name) => format!("{what}, `{name}` in its name"),
            None => what,
        }
    }
}

impl Mapping {
    /// What this mapping and `config` require and a device with `capabilities` lacks.
    pub fn lacks(&self, config: &GamepadConfig, capabilities: &Capabilities) -> Option<String> {
        let axes = self.axes().into_iter();
        let axes = axes.filter(|axis| !capabilities.has_axis(*axis));
        let commands = config.commands.iter().map(|(_, button)| *button);
        let buttons = self.buttons().into_iter().chain(commands);
        let buttons = buttons.filter(|button| !capabilities.has_button(*button));
        let mut lacks: Vec<String> = axes.map(|axis| axis.to_string()).collect();
        lacks.extend(buttons.map(|button| button.to_string()));
        if let Some(name) = &config.name
            && !capabilities.is_called(name)
        {
            lacks.push(format!("`{name}` in its name"));
        }
        (!lacks.is_empty()).then(|| lacks.join(", "))
    }
}
