//! Selects one of a device's modes, or returns a message that lists them.

use std::fmt::{self, Write};
use std::time::Duration;

use super::{Device, Granted};
use crate::fourcc::{Fourcc, letters};
use crate::{CameraConfig, CameraError};

/// Rates within this relative difference are the same: 29.97 is not 30, but 30.0003 is.
const SAME_RATE: f64 = 5e-4;
/// Rates within this relative difference are accepted if a device selects another rate than the
/// requested one.
const NEAR_RATE: f64 = 0.02;
/// The largest number of modes in a message.
const MOST_NAMED: usize = 40;

/// A format, a size and a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mode {
    /// The pixel format.
    pub format: Fourcc,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The frame interval in seconds, as a fraction of two numbers greater than 0.
    pub interval: (u32, u32),
}

impl Mode {
    /// Frames per second.
    pub fn rate(&self) -> f64 {
        f64::from(self.interval.1) / f64::from(self.interval.0)
    }

    /// Time from one frame to the next; `Duration::MAX` if the interval is not a fraction.
    pub fn period(&self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.rate()).unwrap_or(Duration::MAX)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}x{} at {} Hz",
            self.format,
            self.width,
            self.height,
            round(self.rate())
        )
    }
}

/// Sizes that a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// A single size.
    One(u32, u32),
    /// All sizes from the least to the largest in steps; width and height separately.
    Steps {
        /// Least, largest and step of the width.
        width: (u32, u32, u32),
        /// Least, largest and step of the height.
        height: (u32, u32, u32),
    },
}

impl Sizes {
    fn have(self, width: u32, height: u32) -> bool {
        let within = |value: u32, (least, most, step): (u32, u32, u32)| {
            (least..=most).contains(&value) && (value - least).is_multiple_of(step.max(1))
        };
        match self {
            Self::One(w, h) => (w, h) == (width, height),
            Self::Steps {
                width: w,
                height: h,
            } => within(width, w) && within(height, h),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(width, height) => write!(f, "{width}x{height}"),
            Self::Steps { width, height } => write!(
                f,
                "{}x{} to {}x{} in steps of {}x{}",
                width.0, height.0, width.1, height.1, width.2, height.2
            ),
        }
    }
}

/// Rates that a device has, as frame intervals: fractions of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rates {
    /// A single interval.
    One((u32, u32)),
    /// All intervals from the shortest to the longest.
    Between((u32, u32), (u32, u32)),
}

impl Rates {
    /// The interval of `rate` frames per second, if it is among these.
    fn interval(self, rate: f64) -> Option<(u32, u32)> {
        match self {
            Self::One(interval) => alike(hertz(interval), rate, SAME_RATE).then_some(interval),
            Self::Between(shortest, longest) => {
                let (most, least) = (hertz(shortest), hertz(longest));
                let among = rate <= most * (1.0 + SAME_RATE) && rate >= least * (1.0 - SAME_RATE);
                among.then(|| fraction(rate))
            }
        }
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::One(interval) => write!(f, "{}", round(hertz(interval))),
            Self::Between(shortest, longest) => {
                write!(f, "{} to {}", round(hertz(longest)), round(hertz(shortest)))
            }
        }
    }
}

/// The mode of `device` that `config` requests. Without a `format`, the one that is cheapest to
/// convert in the requested size and rate.
///
/// # Errors
/// Fails if there is none; the message lists the modes that the device has.
pub(super) fn mode<D: Device>(
    device: &D,
    camera: &str,
    format: Option<Fourcc>,
    config: &CameraConfig,
) -> Result<Mode, CameraError> {
    let failed = |reason| CameraError::SetUp {
        camera: camera.to_owned(),
        what: "list its formats",
        reason,
    };
    let (width, height) = (config.width, config.height);
    let formats = device.formats().map_err(failed)?;
    let candidates = Fourcc::ALL
        .into_iter()
        .filter(|candidate| format.is_none_or(|format| format == *candidate))
        .filter(|candidate| formats.contains(&candidate.letters()));
    for format in candidates {
        let code = format.letters();
        // If a device lists no sizes or rates, the requested ones are set, and the result is
        // checked.
        let sizes = device.sizes(code).map_err(failed)?;
        if !sizes.is_empty() && !sizes.iter().any(|sizes| sizes.have(width, height)) {
            continue;
        }
        let rates = device.rates(code, width, height).map_err(failed)?;
        let interval = match rates.is_empty() {
            true => Some(fraction(config.rate)),
            false => rates.iter().find_map(|rates| rates.interval(config.rate)),
        };
        if let Some(interval) = interval {
            return Ok(Mode {
                format,
                width,
                height,
                interval,
            });
        }
    }
    let wanted = match format {
        Some(format) => format!("{format} {width}x{height} at {} Hz", config.rate),
        None => format!("{width}x{height} at {} Hz", config.rate),
    };
    Err(CameraError::Offer {
        camera: camera.to_owned(),
        wanted,
        offers: offers(device, &formats).map_err(failed)?,
    })
}

/// Checks that the device selected the requested mode.
pub(super) fn granted(camera: &str, mode: &Mode, granted: &Granted) -> Result<(), CameraError> {
    let size = (granted.format, granted.width, granted.height);
    let rate = granted.rate.unwrap_or(mode.rate());
    if size == (mode.format.letters(), mode.width, mode.height)
        && alike(rate, mode.rate(), NEAR_RATE)
    {
        return Ok(());
    }
    Err(CameraError::Refused {
        camera: camera.to_owned(),
        wanted: mode.to_string(),
        got: format!(
            "{} {}x{} at {} Hz",
            letters(granted.format),
            granted.width,
            granted.height,
            round(rate)
        ),
    })
}

/// All modes of `device`, as text.
fn offers<D: Device>(device: &D, formats: &[[u8; 4]]) -> std::io::Result<String> {
    let mut text = String::new();
    let mut named = 0;
    for &format in formats {
        let readable = Fourcc::ALL.iter().any(|known| known.letters() == format);
        let unreadable = if readable { "" } else { " (not supported)" };
        for sizes in device.sizes(format)? {
            named += 1;
            if named > MOST_NAMED {
                text.push_str(", and more");
                return Ok(text);
            }
            let (width, height) = match sizes {
                Sizes::One(width, height) => (width, height),
                Sizes::Steps { width, height } => (width.0, height.0),
            };
            let rates = device.rates(format, width, height)?;
            let rates: Vec<_> = rates.iter().map(Rates::to_string).collect();
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{}{unreadable} {sizes}", letters(format));
            if !rates.is_empty() {
                let _ = write!(text, " at {} Hz", rates.join("/"));
            }
        }
    }
    if text.is_empty() {
        let names: Vec<_> = formats.iter().map(|&format| letters(format)).collect();
        text = match names.is_empty() {
            true => "no formats at all: it is no camera, or not this camera's picture node".into(),
            false => names.join(", "),
        };
    }
    Ok(text)
}

fn hertz((seconds, parts): (u32, u32)) -> f64 {
    f64::from(parts) / f64::from(seconds.max(1))
}

/// 1 / `rate` as a fraction; the rate is rounded to a thousandth of a frame per second.
fn fraction(rate: f64) -> (u32, u32) {
    match rate.fract() == 0.0 {
        true => (1, rate as u32),
        false => (1000, (rate * 1e3).round() as u32),
    }
}

fn alike(one: f64, other: f64, share: f64) -> bool {
    (one - other).abs() <= other * share
}

fn round(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}
