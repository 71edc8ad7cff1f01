//! An emulated gamepad, made with the kernel's uinput.

use anyhow::{Context, bail};
use evdev::uinput::VirtualDevice;
use evdev::{
    AbsInfo, AbsoluteAxisCode, AttributeSet, EventType, InputEvent, KeyCode, UinputAbsSetup,
};

/// A gamepad that is plugged in. Dropping it unplugs it.
pub struct Pad(VirtualDevice);

impl Pad {
    /// Plugs in a gamepad with the axes and buttons that car.toml's `[gamepad]` uses by default.
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
        // The range of an Xbox gamepad's stick.
        let stick = AbsInfo::new(0, -32768, 32767, 16, 128, 0);
        let build = || {
            let mut builder = VirtualDevice::builder()?
                .name("virtual gamepad")
                .with_keys(&keys)?;
            for axis in [AbsoluteAxisCode::ABS_X, AbsoluteAxisCode::ABS_RY] {
                builder = builder.with_absolute_axis(&UinputAbsSetup::new(axis, stick))?;
            }
            builder.build()
        };
        build().map(Self).context("uinput makes no gamepad")
    }

    /// Presses and releases a button.
    ///
    /// # Errors
    /// When there is no such button, or the kernel rejects the event.
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
