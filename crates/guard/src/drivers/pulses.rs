//! Converts a channel's value to the length of its pulse.

use std::time::Duration;

use pilotage_vehicle::Time;

use crate::{Mode, Output};

/// A channel's output while the car does not drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// A pulse of this many microseconds.
    Pulse(u16),
    /// No pulse at all.
    Silent,
}

impl Rest {
    /// Converts a value of car.toml: 0 means no pulse.
    pub const fn of_micros(micros: u16) -> Self {
        match micros {
            0 => Self::Silent,
            micros => Self::Pulse(micros),
        }
    }

    const fn micros(self) -> Option<f32> {
        match self {
            Self::Pulse(micros) => Some(micros as f32),
            Self::Silent => None,
        }
    }
}

/// The pulses of a servo or a speed controller, in microseconds. The direction of rotation depends
/// on which end has the longer pulse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulses {
    /// At -1: full right, full reverse.
    pub minus: u16,
    /// At 0: straight, neutral.
    pub zero: u16,
    /// At 1: full left, full ahead.
    pub plus: u16,
    /// When stopped, and while armed without a command.
    pub failsafe: Rest,
    /// While disarmed.
    pub disarmed: Rest,
    /// When stopped a moment ago while driving ahead, if the controller can brake.
    pub brake: Option<u16>,
}

impl Pulses {
    /// The pulse for `value`, -1 to 1, in microseconds; `None` is no pulse.
    pub fn micros(&self, mode: Mode, value: f32) -> Option<f32> {
        match mode {
            Mode::Disarmed => self.disarmed.micros(),
            Mode::Failsafe => self.failsafe.micros(),
            Mode::Brake => self
                .brake
                .map_or(self.failsafe.micros(), |us| Some(us.into())),
            Mode::Drive => {
                let zero = f32::from(self.zero);
                let end = f32::from(if value < 0.0 { self.minus } else { self.plus });
                Some(zero + (end - zero) * value.abs().min(1.0))
            }
        }
    }
}

/// Most steps of a speed controller's arming.
pub(crate) const MOST_STEPS: usize = 4;

/// The sequence of pulses that arms a speed controller, before it accepts commands. They replace
/// throttle when the car first drives after it was disarmed. A stop interrupts them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arming {
    steps: arrayvec::ArrayVec<(u16, Duration), MOST_STEPS>,
    began: Option<Time>,
    done: bool,
}

impl Arming {
    /// `steps` of a pulse in microseconds and its duration; steps beyond four are
    /// ignored.
    pub fn new(steps: impl IntoIterator<Item = (u16, Duration)>) -> Self {
        Self {
            steps: steps.into_iter().take(MOST_STEPS).collect(),
            began: None,
            done: false,
        }
    }

    /// The pulse to put out now in place of throttle, until the arming is complete.
    pub fn pulse(&mut self, now: Time, mode: Mode) -> Option<f32> {
        match mode {
            // Restart the arming: the controller may have been switched off while disarmed.
            Mode::Disarmed => self.again(),
            // A stop interrupts the arming, which then starts from the beginning.
            Mode::Failsafe | Mode::Brake => self.began = None,
            Mode::Drive if !self.done => {
                let began = *self.began.get_or_insert(now);
                let mut left = now.since(began);
                for &(micros, duration) in &self.steps {
                    if left < duration {
                        return Some(f32::from(micros));
                    }
                    left -= duration;
                }
                self.done = true;
            }
            Mode::Drive => {}
        }
        None
    }

    /// The mode of the controller: one that is not armed yet does not drive, and is not sent the
    /// brake, which is none of the pulses that arm it.
    pub const fn mode(&self, mode: Mode) -> Mode {
        match mode {
            Mode::Brake if !self.done => Mode::Failsafe,
            mode => mode,
        }
    }

    /// The throttle's pulse for `output`: the arming's until that is complete, then one of `pulses`.
    pub(crate) fn throttle(&mut self, now: Time, output: &Output, pulses: &Pulses) -> Option<f32> {
        let arming = self.pulse(now, output.mode);
        let mode = self.mode(output.mode);
        arming.or_else(|| pulses.micros(mode, output.throttle))
    }

    /// Whether the arming is complete.
    pub(crate) const fn is_done(&self) -> bool {
        self.done
    }

    /// Restarts the arming, because the pulses were interrupted.
    pub const fn again(&mut self) {
        self.began = None;
        self.done = false;
    }
}

#[cfg(test)]
mod tests;
