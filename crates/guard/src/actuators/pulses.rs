//! From a channel's value to the length of its pulse.

use std::time::Duration;

use pilotage_vehicle::Time;

use crate::Mode;

/// What a channel puts out while the car does not drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// A pulse of this many microseconds.
    Pulse(u16),
    /// No pulse at all.
    Silent,
}

impl Rest {
    /// As written in car.toml: 0 is no pulse.
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

/// A servo's or a speed controller's pulses, microseconds. Which end is the longer one
/// says which way it turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulses {
    /// At -1: full right, full reverse.
    pub minus: u16,
    /// At 0: straight, standing.
    pub zero: u16,
    /// At 1: full left, full ahead.
    pub plus: u16,
    /// When stopped, and while armed without a command.
    pub failsafe: Rest,
    /// While disarmed.
    pub disarmed: Rest,
}

impl Pulses {
    /// The pulse for `value`, -1 to 1, in microseconds; `None` is no pulse.
    pub fn micros(&self, mode: Mode, value: f32) -> Option<f32> {
        match mode {
            Mode::Disarmed => self.disarmed.micros(),
            Mode::Failsafe => self.failsafe.micros(),
            Mode::Drive => {
                let zero = f32::from(self.zero);
                let end = f32::from(if value < 0.0 { self.minus } else { self.plus });
                Some(zero + (end - zero) * value.abs().min(1.0))
            }
        }
    }
}

/// Most steps of a speed controller's arming.
pub const MOST_STEPS: usize = 4;

/// What a speed controller wants to see before it takes commands: pulses, one after the
/// other. They go out when the car first drives after it was disarmed, in place of
/// throttle; a stop does not wait for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arming {
    steps: arrayvec::ArrayVec<(u16, Duration), MOST_STEPS>,
    began: Option<Time>,
    done: bool,
}

impl Arming {
    /// `steps` of microseconds and how long; those past the most there can be are left out.
    pub fn new(steps: impl IntoIterator<Item = (u16, Duration)>) -> Self {
        Self {
            steps: steps.into_iter().take(MOST_STEPS).collect(),
            began: None,
            done: false,
        }
    }

    /// The pulse to put out now in place of throttle's, if it is not over yet.
    pub fn pulse(&mut self, now: Time, mode: Mode) -> Option<f32> {
        match mode {
            // The controller may have been switched off meanwhile.
            Mode::Disarmed => self.again(),
            // A stop is a stop; what was begun begins anew.
            Mode::Failsafe => self.began = None,
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

    /// It has to be done anew: the pulses were interrupted.
    pub const fn again(&mut self) {
        self.began = None;
        self.done = false;
    }
}

#[cfg(test)]
mod tests;
