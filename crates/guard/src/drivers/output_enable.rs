//! The output-enable pin of a PWM chip.

use std::io;
use std::sync::Arc;

use gpiocdev::Request;
use gpiocdev::line::Value;
use gpiocdev::request::Builder;

use super::device_lock::LockPolicy;
use super::settings::OutputEnableSettings;

/// Enables or disables a chip's outputs.
pub trait OutputEnable {
    /// Enables (`through`) or disables the outputs.
    ///
    /// # Errors
    /// When the pin cannot be set.
    fn set(&mut self, through: bool) -> io::Result<()>;

    /// Called after each successful write to the chip.
    ///
    /// # Errors
    /// When the pin cannot be set.
    fn beat(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A PCA9685's OE pin on a GPIO line: low enables the outputs. The kernel releases the line when
/// the process dies. If the GPIO driver makes a released line an input, the pull-up resistor, which
/// the wiring must have, then disables the outputs.
///
/// With `pulse` the line feeds a charge pump (docs/hardware.md), which enables the outputs while
/// the line toggles: at each successful write. A line that stays at either level disables them.
#[derive(Debug, Clone)]
pub struct GpioOutputEnable {
    request: Arc<Request>,
    pulse: Option<Pulse>,
}

/// The level of a line that toggles.
#[derive(Debug, Clone, Copy, Default)]
struct Pulse {
    active: bool,
}

impl GpioOutputEnable {
    /// Requests the line, and disables the outputs. A refused request is repeated until the timeout
    /// of `lock_policy`, because the line of a killed guard is busy for a moment.
    ///
    /// # Errors
    /// When the chip does not exist, or another process holds the line.
    pub fn open(
        settings: &OutputEnableSettings,
        lock_policy: impl Into<LockPolicy>,
    ) -> io::Result<Self> {
        let request = lock_policy.into().wait(|| {
            request(settings).request().map_err(|error| match error {
                // The kernel refused the request, usually because the line is busy. Other reasons
                // are not distinguished here.
                gpiocdev::Error::Uapi(..) => io::Error::new(io::ErrorKind::ResourceBusy, error),
                error => io::Error::other(error),
            })
        });
        request.map(|request| Self {
            request: Arc::new(request),
            pulse: settings.pulse.then(Pulse::default),
        })
    }
}

/// The request for the line, as an output that disables the chip's outputs.
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
        match self.pulse {
            None => self.put(through),
            // Without a further beat the outputs are disabled.
            Some(_) => Ok(()),
        }
    }

    fn beat(&mut self) -> io::Result<()> {
        let Some(pulse) = &mut self.pulse else {
            return Ok(());
        };
        pulse.active = !pulse.active;
        let active = pulse.active;
        self.put(active)
    }
}

impl GpioOutputEnable {
    fn put(&self, active: bool) -> io::Result<()> {
        let value = if active {
            Value::Active
        } else {
            Value::Inactive
        };
        self.request.set_lone_value(value).map_err(io::Error::other)
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
            pulse: false,
            tried_off: 0,
        };
        let config = request(&settings).config();
        assert_eq!(config.lines().as_slice(), [12]);
        let line = config.line_config(12).unwrap();
        assert!(line.active_low, "a low OE pin lets the outputs through");
        assert_eq!(line.direction, Some(Direction::Output));
        assert_eq!(line.value, Some(Value::Inactive));
    }

    #[test]
    fn opening_a_missing_chip_fails_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let settings = OutputEnableSettings {
            chip: folder.path().join("gpiochip7"),
            line: 12,
            pulse: false,
            tried_off: 0,
        };
        let began = std::time::Instant::now();
        let timeout = std::time::Duration::from_secs(60);
        GpioOutputEnable::open(&settings, timeout).unwrap_err();
        assert!(began.elapsed() < timeout / 2);
    }
}
