//! The pin that lets a PWM chip's outputs through.

use std::io;

use gpiocdev::Request;
use gpiocdev::line::Value;

use super::settings::OutputEnableSettings;

/// Lets a chip's outputs through, or not.
pub trait OutputEnable {
    /// Lets them through, or holds them back.
    ///
    /// # Errors
    /// When the pin does not do it.
    fn set(&mut self, through: bool) -> io::Result<()>;
}

/// A PCA9685's OE pin on a GPIO line: low lets the outputs through. The kernel lets go of
/// the line when its holder dies; the pull-up that the wiring must have then holds the
/// outputs back, where the line's driver makes an input of a line that is let go.
#[derive(Debug)]
pub struct GpioOutputEnable(Request);

impl GpioOutputEnable {
    /// Takes the line, and holds the outputs back.
    ///
    /// # Errors
    /// When the chip is not there, or the line is another's.
    pub fn open(settings: &OutputEnableSettings) -> io::Result<Self> {
        let request = Request::builder()
            .on_chip(&settings.chip)
            .with_consumer("pilotage-guard")
            .with_line(settings.line)
            .as_active_low()
            .as_output(Value::Inactive)
            .request();
        request.map(Self).map_err(io::Error::other)
    }
}

impl OutputEnable for GpioOutputEnable {
    fn set(&mut self, through: bool) -> io::Result<()> {
        let value = if through {
            Value::Active
        } else {
            Value::Inactive
        };
        self.0.set_lone_value(value).map_err(io::Error::other)
    }
}
