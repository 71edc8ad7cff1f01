//! What an event device has, and whether that suffices for a mapping.

use evdev::AbsoluteAxisCode;
use evdev::raw_stream::RawDevice;

use super::mapping::{AxisName, Button, Mapping};

/// BTN_TRIGGER to BTN_THUMBR: the buttons of joysticks and gamepads.
const PAD_BUTTONS: std::ops::RangeInclusive<u16> = 0x120..=0x13e;

/// What an event device has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Its name.
    pub name: String,
    /// Its vendor ID, from its bus.
    pub vendor: u16,
    /// Its product ID.
    pub product: u16,
    /// The codes of its axes.
    pub axes: Vec<u16>,
    /// The codes of its buttons.
    pub buttons: Vec<u16>,
}

impl Capabilities {
    pub(super) fn of(device: &RawDevice) -> Self {
        let axes = device.supported_absolute_axes();
        let buttons = device.supported_keys();
        let id = device.input_id();
        Self {
            name: device.name().unwrap_or("").to_owned(),
            vendor: id.vendor(),
            product: id.product(),
            axes: axes.map_or_else(Vec::new, |axes| axes.iter().map(|axis| axis.0).collect()),
            buttons: buttons.map_or_else(Vec::new, |keys| keys.iter().map(|key| key.0).collect()),
        }
    }

    /// Its name, or that it has none.
    pub fn called(&self) -> &str {
        match self.name.as_str() {
            "" => "a gamepad without a name",
            name => name,
        }
    }

    /// Whether its name contains `part`, ignoring case.
    pub fn is_called(&self, part: &str) -> bool {
        self.name.to_lowercase().contains(&part.to_lowercase())
    }

    /// Whether it has an axis.
    pub fn has_axis(&self, axis: AxisName) -> bool {
        self.axes.contains(&axis.0)
    }

    /// Whether it has a button.
    pub fn has_button(&self, button: Button) -> bool {
        self.buttons.contains(&button.0)
    }

    /// Whether it has sticks, and buttons that no mouse, touchpad or sensor has.
    pub fn looks_like_a_gamepad(&self) -> bool {
        self.has_axis(AxisName(AbsoluteAxisCode::ABS_X.0))
            && self.has_axis(AxisName(AbsoluteAxisCode::ABS_Y.0))
            && self.buttons.iter().any(|code| PAD_BUTTONS.contains(code))
    }
}

impl Mapping {
    /// Whether a device with `capabilities` has everything that is needed.
    pub(super) fn has_all(&self, capabilities: &Capabilities) -> bool {
        let mut axes = self.axes().into_iter();
        let mut buttons = self.buttons().into_iter();
        axes.all(|axis| capabilities.has_axis(axis))
            && buttons.all(|button| capabilities.has_button(button))
    }
}
