//! The page as a gamepad: the same records as the kernel's, over a pipe.
//!
//! So everything that a gamepad may not do, the page may not do either: see [`crate::Hand`].

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use evdev::{EventType, SynchronizationCode};
use pilotage_guard_policy::Limits;
use pilotage_vehicle::Time;

use super::Gamepad;
use super::config::GamepadConfig;
use super::mapping::Mapping;
use super::records::{RECORD, Records};

/// After this long without a record the car is commanded to stand still.
const SILENCE: Duration = Duration::from_millis(250);
/// The page's middle is exact, unlike a stick's.
const DEAD_ZONE: f32 = 0.02;
/// A report that was written longer ago moves and arms nothing.
const OLDEST: Duration = Duration::from_millis(200);
const NANOS: u64 = 1_000_000_000;
/// The records of a state: two axes, three buttons, the report.
const RECORDS: usize = 6;

/// The operator's hand on a page.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PageState {
    /// -1 (full right) to 1 (full left).
    pub steering: f32,
    /// -1 (full reverse) to 1 (full ahead).
    pub throttle: f32,
    /// The dead-man button is held.
    pub dead_man: bool,
    /// The arm button is held.
    pub arm: bool,
    /// The stop button is held.
    pub stop: bool,
}

impl PageState {
    /// The kernel's records of this state at `now`, a complete report. Values out of range are
    /// clamped, and NaN counts as 0.
    pub fn records(&self, now: Time) -> [u8; RECORDS * RECORD] {
        let mapping = Mapping::default();
        // The kernel's axes are positive to the right and backwards.
        let axis = |value: f32| {
            let value = if value.is_nan() { 0.0 } else { value };
            (value.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i32
        };
        let (key, absolute) = (EventType::KEY.0, EventType::ABSOLUTE.0);
        let events = [
            (absolute, mapping.steering.axis.0, -axis(self.steering)),
            (absolute, mapping.throttle.axis.0, -axis(self.throttle)),
            (key, mapping.stop.0, self.stop.into()),
            (key, mapping.arm.0, self.arm.into()),
            (key, mapping.dead_man.0, self.dead_man.into()),
            (
                EventType::SYNCHRONIZATION.0,
                SynchronizationCode::SYN_REPORT.0,
                0,
            ),
        ];
        let mut bytes = [0; RECORDS * RECORD];
        for (record, (kind, code, value)) in bytes.chunks_exact_mut(RECORD).zip(events) {
            record[..8].copy_from_slice(&(now.as_nanos() / NANOS).to_ne_bytes());
            record[8..16].copy_from_slice(&(now.as_nanos() % NANOS / 1000).to_ne_bytes());
            record[16..18].copy_from_slice(&u16::to_ne_bytes(kind));
            record[18..20].copy_from_slice(&u16::to_ne_bytes(code));
            record[20..24].copy_from_slice(&i32::to_ne_bytes(value));
        }
        bytes
    }
}

impl Gamepad {
    /// The gamepad whose records the page writes to `pipe`, for a car with `limits`. It cannot be
    /// opened again. After 250 ms without a record the car is commanded to stand still.
    ///
    /// # Errors
    /// Fails if the pipe cannot be set to reads that do not wait.
    pub fn of_page(pipe: OwnedFd, limits: &Limits) -> io::Result<Self> {
        let source = Records::over(pipe, "the page", OLDEST)?;
        let config = GamepadConfig {
            dead_zone: DEAD_ZONE,
            silence: SILENCE,
            ..GamepadConfig::default()
        };
        let mut pad = Self::over(Box::new(source), Mapping::default(), &config, limits);
        // The page's STOP does not depend on this pipe.
        pad.hand.trust_stop();
        Ok(pad)
    }
}
