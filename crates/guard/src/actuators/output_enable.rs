//! The pin that lets a PWM chip's outputs through.

use std::io;
use std::sync::Arc;

use gpiocdev::Request;
use gpiocdev::line::Value;
use gpiocdev::request::Builder;

use super::bus_lock::Hold;
use super::settings::OutputEnableSettings;

/// Lets a chip's outputs through, or not.
pub trait OutputEnable {
    /// Lets them through, or holds them back.
    ///
    /// # Errors
    /// When the pin does not do it.
    fn set(&mut self, through: bool) -> io::Result<()>;
}

/// A PCA9685's OE pin on a GPIO line: low lets the outputs through. The kernel releases the
/// line when its holder dies; the pull-up that the wiring must have then holds the outputs
/// back, where the line's driver makes an input of a line that is released.
#[derive(Debug, Clone)]
pub struct GpioOutputEnable(Arc<Request>);

impl GpioOutputEnable {
    /// Takes the line, and holds the outputs back. A line that is refused is tried again for
    /// the patience of `hold`: that of a guard which was killed is busy for a moment.
    ///
    /// # Errors
    /// When the chip is not there, or the line is another's.
    pub fn open(settings: &OutputEnableSettings, hold: impl Into<Hold>) -> io::Result<Self> {
        let request = hold.into().wait(|| {
            request(settings).request().map_err(|error| match error {
                // What the kernel answered to the request for the line, as a rule that it is
                // busy; what else it may be is not told apart here.
                gpiocdev::Error::Uapi(..) => io::Error::new(io::ErrorKind::ResourceBusy, error),
                error => io::Error::other(error),
            })
        });
        request.map(|request| Self(Arc::new(request)))
    }
}

/// The request for the line, as an output that holds the chip's outputs back.
fn request(settings: &OutputEnableSettings) -> Builder {
    let mut builder = Request::builder();
    builder
        .on_chip(&settings.chip)
        .with_consumer("pilotage-guard")
        .with_line(settings.line)
        .as_active_low()
        .as_output(Value::Inactive);
    builder
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

#[cfg(test)]
mod tests {
    use super::*;
    use gpiocdev::line::Direction;

    #[test]
    fn the_line_is_an_output_that_is_low_when_active_and_starts_inactive() {
        let settings = OutputEnableSettings {
            chip: "/dev/gpiochip7".into(),
            line: 12,
        };
        let config = request(&settings).config();
        assert_eq!(config.lines().as_slice(), [12]);
        let line = config.line_config(12).unwrap();
        assert!(line.active_low, "a low OE pin lets the outputs through");
        assert_eq!(line.direction, Some(Direction::Output));
        assert_eq!(line.value, Some(Value::Inactive));
    }

    #[test]
    fn a_chip_that_is_not_there_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let settings = OutputEnableSettings {
            chip: folder.path().join("gpiochip7"),
            line: 12,
        };
        let began = std::time::Instant::now();
        let patience = std::time::Duration::from_secs(60);
        GpioOutputEnable::open(&settings, patience).unwrap_err();
        assert!(began.elapsed() < patience / 2);
    }
}
