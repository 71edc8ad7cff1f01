//! One PWM pin, through its files in sysfs. <https://docs.kernel.org/driver-api/pwm.html>

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::drivers::device_lock::{self, LockPolicy};
use crate::drivers::failure::{Failure, Text};
use crate::drivers::open_error::OpenError;
use crate::drivers::pulses::Pulses;

/// How long to wait for udev to set the permissions of an exported pin.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(1);

const PERIOD: &str = "period";
const DUTY: &str = "duty_cycle";
const ENABLE: &str = "enable";
const POLARITY: &str = "polarity";
const NORMAL: &str = "normal";

/// Number of settings of a pin that are read back.
pub(super) const SETTINGS: u32 = 4;

/// An exported pin.
#[derive(Debug)]
pub(super) struct Pin {
    /// The pin's path.
    pub(super) device: Arc<str>,
    pub(super) pulses: Pulses,
    duty: File,
    period: File,
    enable: File,
    /// `None` if the kernel does not provide it for this pin.
    polarity: Option<File>,
    /// Nanoseconds of a cycle.
    cycle: u32,
    /// Nanoseconds of the pulse that was last written.
    written: Option<u32>,
}

impl Pin {
    /// # Errors
    /// When the pin does not exist, or another process holds it.
    pub(super) fn open(
        chip: &Path,
        channel: u8,
        cycle: u32,
        pulses: Pulses,
        lock_policy: LockPolicy,
    ) -> Result<Self, OpenError> {
        let path = chip.join(format!("pwm{channel}"));
        Self::export_and_open(chip, &path, channel, cycle, pulses, lock_policy)
            .map_err(|reason| OpenError::of(path.clone(), reason))
    }

    fn export_and_open(
        chip: &Path,
        path: &Path,
        channel: u8,
        cycle: u32,
        pulses: Pulses,
        lock_policy: LockPolicy,
    ) -> io::Result<Self> {
        if !path.exists() {
            fs::write(chip.join("export"), channel.to_string())?;
        }
        let began = Instant::now();
        let open = |name| wait_for(&path.join(name), began);
        let duty = open(DUTY)?;
        // One lock for each pin, because two pins of a chip may belong to two cars.
        device_lock::lock(&duty, path, lock_policy)?;
        let polarity = match File::open(path.join(POLARITY)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            polarity => Some(polarity?),
        };
        Ok(Self {
            device: path.display().to_string().into(),
            pulses,
            duty,
            period: open(PERIOD)?,
            enable: open(ENABLE)?,
            polarity,
            cycle,
            written: None,
        })
    }

    /// Sets up a pin in any state: normal polarity, enabled, without a pulse.
    ///
    /// # Errors
    /// When the pin refuses a setting.
    pub(super) fn set_up(&mut self) -> Result<(), Failure> {
        self.written = None;
        // The kernel changes the polarity of a pin only while the pin is disabled.
        let inverted = self.polarity()?.is_some_and(|holds| &holds != NORMAL);
        if inverted && &text(&self.enable)? != "0" {
            write(&self.enable, "0")?;
        }
        // Set no pulse before the period, because a period shorter than the pulse would be refused.
        // A fresh pin has a period of 0 and puts out nothing; kernels refuse any other setting
        // until it has a period.
        if &text(&self.period)? != "0" {
            write(&self.duty, "0")?;
        }
        write(&self.period, &number(self.cycle))?;
        write(&self.duty, "0")?;
        if inverted {
            self.make_normal()?;
        }
        Ok(write(&self.enable, "1")?)
    }

    /// Puts out a pulse, or none.
    ///
    /// # Errors
    /// When the pin refuses it.
    pub(super) fn put(&mut self, micros: Option<f32>) -> Result<(), Failure> {
        // 0 takes effect at the end of the current cycle, and keeps the pin low.
        let nanos = micros.map_or(0, |micros| (micros * 1e3).round() as u32);
        if self.written == Some(nanos) {
            return Ok(());
        }
        self.written = None;
        write(&self.duty, &number(nanos))?;
        self.written = Some(nanos);
        Ok(())
    }

    /// Reads back one of the [`SETTINGS`].
    ///
    /// # Errors
    /// When the value differs from what was written.
    pub(super) fn check(&self, index: u32) -> Result<(), Failure> {
        match (index, self.written) {
            (0, Some(nanos)) => expect(DUTY, &self.duty, &number(nanos)),
            (0, None) => Ok(()),
            (1, _) => expect(PERIOD, &self.period, &number(self.cycle)),
            (2, _) => expect(ENABLE, &self.enable, "1"),
            _ => match &self.polarity {
                Some(polarity) => expect(POLARITY, polarity, NORMAL),
                None => Ok(()),
            },
        }
    }

    /// The polarity, if the pin has that setting.
    fn polarity(&self) -> io::Result<Option<Text>> {
        self.polarity.as_ref().map(text).transpose()
    }

    fn make_normal(&self) -> Result<(), Failure> {
        let path = Path::new(&*self.device).join(POLARITY);
        let made = File::options()
            .write(true)
            .open(path)
            .and_then(|file| write(&file, NORMAL));
        match self.polarity()? {
            Some(holds) if made.is_err() || &holds != NORMAL => Err(Failure::Polarity { holds }),
            _ => Ok(()),
        }
    }
}

fn wait_for(path: &Path, began: Instant) -> io::Result<File> {
    loop {
        match File::options().read(true).write(true).open(path) {
            Ok(file) => return Ok(file),
            Err(error) if began.elapsed() >= EXPORT_TIMEOUT => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn number(number: u32) -> Text {
    let mut text = Text::new();
    let _ = write!(text, "{number}");
    text
}

/// Writes `value` as a line.
fn write(file: &File, value: &str) -> io::Result<()> {
    let mut line = Text::new();
    let _ = writeln!(line, "{value}");
    file.write_all_at(line.as_bytes(), 0)
}

/// The first line of a file, possibly truncated.
fn text(file: &File) -> io::Result<Text> {
    let mut bytes = [0; 32];
    let length = file.read_at(&mut bytes, 0)?;
    let line = bytes[..length].split(|byte| *byte == b'\n').next();
    let mut text = Text::new();
    for byte in line.unwrap_or_default() {
        let _ = text.try_push(char::from(*byte));
    }
    Ok(text)
}

fn expect(setting: &'static str, file: &File, written: &str) -> Result<(), Failure> {
    let holds = text(file)?;
    if &holds == written {
        return Ok(());
    }
    Err(Failure::Setting {
        setting,
        written: Text::from(written).unwrap_or_default(),
        holds,
    })
}
