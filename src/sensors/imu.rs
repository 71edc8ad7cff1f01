//! The car's inertial unit: a gyroscope and an accelerometer under Linux's IIO, read by a thread of their
//! own, since a read waits for the bus.

use std::fmt::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pilotage_console::FaultReports;
use pilotage_vehicle::{Measurement, Measurements, Time, monotonic};

use super::iio::{self, Channel, IioError};

/// How long the zero of the sensors is measured when a drive starts.
const REST: Duration = Duration::from_millis(500);
/// A gyroscope of a car that stands still varies by less than this, rad/s, and its zero is less far off
/// than [`ZERO`] (MPU-6050, data sheet: 0.35 rad/s).
const STILL: f64 = 0.1;
const ZERO: f64 = 0.5;
/// The gravity that an accelerometer reads upwards is at least this, m/s2, in whatever way the ground
/// slopes.
const GRAVITY: f64 = 7.0;

/// The inertial unit, as car.toml describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct ImuConfig {
    /// The device that measures the yaw rate ([`iio::device`]).
    pub gyroscope: Option<String>,
    /// The device that measures the accelerations.
    pub accelerometer: Option<String>,
    /// The sensors' axis that points ahead.
    pub forward: Axis,
    /// The sensors' axis that points to the left.
    pub left: Axis,
    /// Reads a second.
    pub rate_hz: f64,
}

/// An axis of a sensor, and its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// 0, 1 or 2: x, y or z.
    place: usize,
    /// Whether it points the other way.
    is_negative: bool,
}

impl Axis {
    /// The axis with the name `x`, `-x` and so on.
    pub fn named(name: &str) -> Option<Self> {
        let (is_negative, letter) = match name.strip_prefix('-') {
            Some(letter) => (true, letter),
            None => (false, name),
        };
        let place = ["x", "y", "z"].iter().position(|it| *it == letter)?;
        Some(Self { place, is_negative })
    }

    /// The axis that points up, if `self` points ahead and `left` to the left; `None` if these two are
    /// parallel.
    pub fn up(self, left: Self) -> Option<Self> {
        let place = 3_usize.checked_sub(self.place + left.place)?;
        let is_cyclic = (self.place + 1) % 3 == left.place;
        (self.place != left.place).then_some(Self {
            place,
            is_negative: self.is_negative ^ left.is_negative ^ !is_cyclic,
        })
    }

    fn letter(self) -> char {
        ['x', 'y', 'z'].get(self.place).copied().unwrap_or('z')
    }

    fn sign(self) -> f64 {
        if self.is_negative { -1.0 } else { 1.0 }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative { "-" } else { "" };
        write!(f, "{sign}{}", self.letter())
    }
}

/// The inertial unit cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImuError {
    /// A device or a channel cannot be used.
    #[error(transparent)]
    Iio(#[from] IioError),
    /// The car moved while the zero was measured.
    #[error(
        "the car moved, or was touched, while the zero of its gyroscope was measured ({least:.2} to {most:.2} \
         rad/s): let it stand still for a second, and start again"
    )]
    Moved {
        /// The least yaw rate, rad/s.
        least: f64,
        /// The largest.
        most: f64,
    },
    /// The gyroscope reads a rate that no car at rest has.
    #[error(
        "the gyroscope reads {mean:.2} rad/s while nothing changes, and at most {ZERO} is its own error: if the \
         car stands still, the sensor is broken or its kernel driver has a wrong scale"
    )]
    Zero {
        /// The mean yaw rate, rad/s.
        mean: f64,
    },
    /// The axis that should point up does not read gravity.
    #[error(
        "the accelerometer reads {upwards:.1} m/s2 along {up}, which points up according to `forward = \
         \"{forward}\"` and `left = \"{left}\"`, and 9.8 are expected: correct these two in car.toml's [imu]"
    )]
    Gravity {
        /// What it reads, m/s2.
        upwards: f64,
        /// The axis that should point up.
        up: Axis,
        /// The axis ahead, as configured.
        forward: Axis,
        /// The axis to the left, as configured.
        left: Axis,
    },
    /// The system has no thread.
    #[error("the system has no thread for the inertial unit: {0}")]
    Thread(std::io::Error),
}

/// A channel of the car's axes: what it measures, and its zero.
#[derive(Debug)]
struct Number {
    measurement: Measurement,
    channel: Channel,
    sign: f64,
    zero: f64,
}

impl Number {
    fn open(
        folder: &Path,
        kind: &str,
        axis: Axis,
        measurement: Measurement,
    ) -> Result<Self, IioError> {
        Ok(Self {
            measurement,
            channel: Channel::open(folder, kind, axis.letter())?,
            sign: axis.sign(),
            zero: 0.0,
        })
    }

    fn read(&self) -> Result<f64, IioError> {
        Ok(self.sign * self.channel.read()? - self.zero)
    }
}

/// Measures the zeros, with `reads` values of each number, `interval` apart.
fn rest(numbers: &mut [Number], reads: u32, interval: Duration) -> Result<(), ImuError> {
    let mut spans = vec![(f64::INFINITY, f64::NEG_INFINITY, 0.0); numbers.len()];
    for _ in 0..reads {
        for (number, (least, most, sum)) in numbers.iter().zip(&mut spans) {
            let value = number.read()?;
            (*least, *most, *sum) = (least.min(value), most.max(value), *sum + value);
        }
        std::thread::sleep(interval);
    }
    for (number, (least, most, sum)) in numbers.iter_mut().zip(spans) {
        let mean = sum / f64::from(reads);
        // An accelerometer also feels the slope of the ground and the vibration of a fan.
        if number.measurement == Measurement::YawRate {
            if most - least > STILL {
                return Err(ImuError::Moved { least, most });
            }
            if mean.abs() > ZERO {
                return Err(ImuError::Zero { mean });
            }
        }
        number.zero = mean;
    }
    Ok(())
}

/// What was read last.
#[derive(Debug, Clone, Copy)]
pub struct Latest {
    /// The numbers; those whose sensor did not answer are absent.
    pub measured: Measurements,
    /// When they were read.
    pub at: Time,
}

#[derive(Debug)]
struct Shared {
    latest: Mutex<Option<Latest>>,
    ends: AtomicBool,
}

/// A running inertial unit. Clones share its thread, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct Imu {
    thread: Arc<Thread>,
    latest: Option<Latest>,
    measures: [bool; Measurement::ALL.len()],
    description: String,
}

#[derive(Debug)]
struct Thread(Arc<Shared>);

impl Drop for Thread {
    fn drop(&mut self) {
        // Not joined: a read may hang with its bus.
        self.0.ends.store(true, Ordering::Relaxed);
    }
}

impl Imu {
    /// Opens the devices below `devices` ([`iio::DEVICES`]), measures their zeros for half a second while
    /// the car stands still, and reads them from then on. Faults, and their ends, are reported to `say`;
    /// the numbers are absent meanwhile.
    ///
    /// # Errors
    /// Fails if a sensor does not answer, or if the gyroscope says that the car moves.
    pub fn start(config: &ImuConfig, devices: &Path, say: fn(&str)) -> Result<Self, ImuError> {
        let mut numbers = open(config, devices)?;
        let interval = Duration::from_secs_f64(1.0 / config.rate_hz);
        let reads = (REST.as_secs_f64() * config.rate_hz).ceil().max(2.0) as u32;
        rest(&mut numbers, reads, interval)?;
        let mut measures = [false; Measurement::ALL.len()];
        for (measures, measurement) in measures.iter_mut().zip(Measurement::ALL) {
            *measures = numbers.iter().any(|it| it.measurement == measurement);
        }
        let shared = Arc::new(Shared {
            latest: Mutex::default(),
            ends: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("imu".to_owned())
            .spawn(move || keep_reading(&numbers, interval, &theirs, say))
            .map_err(ImuError::Thread)?;
        Ok(Self {
            thread: Arc::new(Thread(shared)),
            latest: None,
            measures,
            description: describe(config),
        })
    }
}

impl Imu {
    /// What measures, in words.
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// Whether it gives this number.
    pub fn measures(&self, measurement: Measurement) -> bool {
        let mut all = Measurement::ALL.iter().zip(self.measures);
        all.any(|(it, is)| is && *it == measurement)
    }

    /// The latest numbers; `None` before the first. Neither waits nor allocates.
    pub fn latest(&mut self) -> Option<Latest> {
        // While the thread writes, the reading before is as good.
        if let Ok(latest) = self.thread.0.latest.try_lock() {
            self.latest = *latest;
        }
        self.latest
    }
}

fn describe(config: &ImuConfig) -> String {
    let named = [
        ("gyroscope", &config.gyroscope),
        ("accelerometer", &config.accelerometer),
    ];
    let named = named.iter().filter_map(|(kind, device)| {
        let device = device.as_deref()?;
        Some(format!("{kind} {device}"))
    });
    let named: Vec<String> = named.collect();
    format!("{} at {} Hz", named.join(", "), config.rate_hz)
}

/// What the sensors read now, in words.
///
/// # Errors
/// As [`Imu::start`]; the car may move.
pub fn read_once(config: &ImuConfig, devices: &Path) -> Result<String, ImuError> {
    let mut text = describe(config);
    for number in open(config, devices)? {
        let unit = match number.measurement {
            Measurement::YawRate => "rad/s",
            _ => "m/s2",
        };
        // Writing to a String does not fail.
        let _ = write!(
            text,
            ", {} {:.2} {unit}",
            number.measurement.name(),
            number.read()?
        );
    }
    Ok(text)
}

/// Opens the channels that `config` needs, and checks the axes by gravity.
fn open(config: &ImuConfig, devices: &Path) -> Result<Vec<Number>, ImuError> {
    let (forward, left) = (config.forward, config.left);
    // car.toml is refused if these are parallel.
    let up = forward.up(left).unwrap_or(forward);
    let mut numbers = Vec::new();
    if let Some(name) = &config.gyroscope {
        let folder = iio::device(devices, name)?;
        // A turn to the left is positive about the axis that points up, by the right-hand rule.
        let yaw = Number::open(&folder, "anglvel", up, Measurement::YawRate)?;
        numbers.push(yaw);
    }
    if let Some(name) = &config.accelerometer {
        let folder = iio::device(devices, name)?;
        let upwards = up.sign() * Channel::open(&folder, "accel", up.letter())?.read()?;
        if upwards < GRAVITY {
            return Err(ImuError::Gravity {
                upwards,
                up,
                forward,
                left,
            });
        }
        for (axis, measurement) in [
            (forward, Measurement::Acceleration),
            (left, Measurement::LateralAcceleration),
        ] {
            numbers.push(Number::open(&folder, "accel", axis, measurement)?);
        }
    }
    Ok(numbers)
}

/// Reads until the last handle is gone.
fn keep_reading(numbers: &[Number], interval: Duration, shared: &Shared, say: fn(&str)) {
    let mut due = Instant::now();
    let mut faults = FaultReports::default();
    while !shared.ends.load(Ordering::Relaxed) {
        let at = monotonic();
        let mut measured = Measurements::default();
        let mut failed = None;
        for number in numbers {
            match number.read() {
                Ok(value) => measured.set(number.measurement, Some(value as f32)),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => {
                let text = format!("the inertial unit does not answer: {error}");
                faults.wrong(&text, Instant::now(), say);
            }
            None => faults.well("the inertial unit answers again", Instant::now(), say),
        }
        // Only a panic while it is held poisons it, and nothing panics there.
        if let Ok(mut latest) = shared.latest.lock() {
            *latest = Some(Latest { measured, at });
        }
        due = (due + interval).max(Instant::now());
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests;
