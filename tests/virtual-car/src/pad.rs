//! A gamepad, as the kernel's uinput makes one of a program.

use anyhow::{Context, bail};
use evdev::uinput::VirtualDevice;
use evdev::{
    AbsInfo, AbsoluteAxisCode, AttributeSet, EventType, InputEvent, KeyCode, UinputAbsSetup,
};

/// A plugged gamepad; dropped, it is unplugged.
pub struct Pad(VirtualDevice);

impl Pad {
    /// Plugs in one with the axes and buttons that car.toml's `[gamepad]` has by default.
    ///
    /// # Errors
    /// When the kernel has no uinput.
    pub fn plug() -> anyhow::Result<Self> {
        let keys: AttributeSet<KeyCode> = [
            KeyCode::BTN_SOUTH,
            KeyCode::BTN_EAST,
            KeyCode::BTN_TL,
            KeyCode::BTN_START,
        ]
        .into_iter()
        .collect();
        // As an Xbox pad's.
        let stick = AbsInfo::new(0, -32768, 32767, 16, 128, 0);
        let made = || {
            let mut builder = VirtualDevice::builder()?
                .name("virtual gamepad")
                .with_keys(&keys)?;
            for axis in [AbsoluteAxisCode::ABS_X, AbsoluteAxisCode::ABS_RY] {
                builder = builder.with_absolute_axis(&UinputAbsSetup::new(axis, stick))?;
            }
            builder.build()
        };
        made().map(Self).context("uinput makes no gamepad")
    }

    /// Presses one of its buttons, and lets it go.
    ///
    /// # Errors
    /// When it has no such button, or the kernel does not take it.
    pub fn press(&mut self, button: &str) -> anyhow::Result<()> {
        let key = match button {
            "arm" => KeyCode::BTN_START,
            "stop" => KeyCode::BTN_EAST,
            other => bail!("no button {other}"),
        };
        for value in [1, 0] {
            self.0
                .emit(&[InputEvent::new(EventType::KEY.0, key.0, value)])?;
        }
        Ok(())
    }
}
