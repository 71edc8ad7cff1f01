//! The computer's own PWM pins, through sysfs.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrayvec::ArrayString;
use pilotage_vehicle::Time;

use super::bus_lock;
use super::pulses::{Arming, Pulses};
use super::retry::Retry;
use super::settings::PwmSettings;
use crate::{Actuator, ActuatorError, Output};

const NAME: &str = "pwm";
/// What the kernel holds is read back this often.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// udev sets the rights of a pin some time after it is exported.
const EXPORT: Duration = Duration::from_secs(1);

/// A servo and a speed controller on two pins.
#[derive(Debug)]
pub struct Pwm {
    steering: Pin,
    throttle: Pin,
    arming: Arming,
    checked: Option<Time>,
    retry: Retry,
    last: Option<i32>,
}

#[derive(Debug)]
struct Pin {
    /// Held open for its lock.
    _chip: File,
    duty: File,
    pulses: Pulses,
    /// Nanoseconds that it was last told.
    told: Option<u32>,
}

/// A number as sysfs takes and gives it.
type Number = ArrayString<24>;

impl Pin {
    fn open(
        chip: &Path,
        channel: u8,
        frequency: f32,
        pulses: Pulses,
        patience: Duration,
    ) -> io::Result<Self> {
        let lock = File::open(chip)?;
        let pin: PathBuf = chip.join(format!("pwm{channel}"));
        if !pin.exists() {
            fs::write(chip.join("export"), channel.to_string())?;
        }
        let duty = wait_for(&pin.join("duty_cycle"))?;
        // One lock for each pin: two pins of a chip may be two cars'.
        bus_lock::lock(&duty, patience)?;
        // No pulse while the rest is set; a cycle shorter than the pulse would be refused.
        // A pin that is fresh has a cycle of 0, and older kernels refuse it any
        // duty, 0 included; it puts out nothing.
        let fresh = fs::read_to_string(pin.join("period"))?.trim() == "0";
        if !fresh {
            duty.write_all_at(b"0\n", 0)?;
        }
        let period = (1e9 / frequency) as u32;
        fs::write(pin.join("period"), period.to_string())?;
        duty.write_all_at(b"0\n", 0)?;
        fs::write(pin.join("enable"), "1")?;
        Ok(Self {
            _chip: lock,
            duty,
            pulses,
            told: None,
        })
    }

    fn tell(&mut self, micros: Option<f32>) -> io::Result<()> {
        // 0 ends with the cycle that runs, and keeps the pin low.
        let nanos = micros.map_or(0, |micros| (micros * 1e3).round() as u32);
        if self.told == Some(nanos) {
            return Ok(());
        }
        self.told = None;
        let mut number = Number::new();
        let _ = writeln!(number, "{nanos}");
        self.duty.write_all_at(number.as_bytes(), 0)?;
        self.told = Some(nanos);
        Ok(())
    }

    /// Whether the kernel still holds what it was told.
    fn holds(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 24];
        let length = self.duty.read_at(&mut bytes, 0)?;
        let text = std::str::from_utf8(&bytes[..length]).unwrap_or("");
        let holds = text
            .lines()
            .next()
            .and_then(|line| line.parse::<u32>().ok());
        Ok(self.told.is_none() || holds == self.told)
    }
}

fn wait_for(path: &Path) -> io::Result<File> {
    let began = Instant::now();
    loop {
        match File::options().read(true).write(true).open(path) {
            Ok(file) => return Ok(file),
            Err(error) if began.elapsed() >= EXPORT => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

impl Pwm {
    /// Opens both pins, without a pulse yet; waits up to `patience` for another writer to let
    /// go of them.
    ///
    /// # Errors
    /// `WouldBlock` when another holds one; else what the system says.
    pub fn open(settings: &PwmSettings, patience: Duration) -> io::Result<Self> {
        let (steering, throttle) = (&settings.steering, &settings.throttle);
        let open =
            |chip, channel, pulses| Pin::open(chip, channel, settings.frequency, pulses, patience);
        Ok(Self {
            throttle: open(
                &settings.throttle_pin.chip,
                throttle.channel,
                throttle.pulses(),
            )?,
            steering: open(
                &settings.steering_pin.chip,
                steering.channel,
                steering.pulses(),
            )?,
            arming: throttle.arming(),
            checked: None,
            retry: Retry::default(),
            last: None,
        })
    }

    /// Takes other pulses.
    pub(crate) fn adjust(&mut self, settings: &PwmSettings) {
        self.steering.pulses = settings.steering.pulses();
        self.throttle.pulses = settings.throttle.pulses();
    }

    fn attempt(&mut self, now: Time, output: &Output) -> io::Result<()> {
        let throttle = &self.throttle.pulses;
        let motor = self
            .arming
            .pulse(now, output.mode)
            .or_else(|| throttle.micros(output.mode, output.throttle));
        let servo = self.steering.pulses.micros(output.mode, output.steering);
        // The motor first: it is what hurts.
        self.throttle.tell(motor)?;
        self.steering.tell(servo)?;
        if self
            .checked
            .is_none_or(|checked| now.since(checked) >= CHECK_EVERY)
        {
            self.checked = Some(now);
            for pin in [&mut self.throttle, &mut self.steering] {
                if !pin.holds()? {
                    pin.told = None;
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
        Ok(())
    }
}

impl Actuator for Pwm {
    fn name(&self) -> &str {
        NAME
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        let error = |code: Option<i32>| match code {
            Some(code) => ActuatorError::Write {
                actuator: NAME,
                source: io::Error::from_raw_os_error(code),
            },
            None => ActuatorError::Overwritten { actuator: NAME },
        };
        if !self.retry.due(now) {
            return Err(error(self.last));
        }
        match self.attempt(now, output) {
            Ok(()) => {
                if self.retry.succeeded() {
                    log::warn!("{NAME}: the pins take values again");
                }
                Ok(())
            }
            Err(reason) => {
                self.last = reason.raw_os_error();
                self.arming.again();
                if self.retry.failed(now) {
                    log::error!("{}", error(self.last));
                }
                Err(error(self.last))
            }
        }
    }
}
