//! The states of a guard.

use pilotage_vehicle::{Fault, Time};

use crate::{Limits, Mode, Output};

/// Why a guard stopped the car.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StopReason {
    /// The deadline passed without a good command.
    #[error("no good command within the deadline")]
    Deadline,
    /// Armed, but no good command arrived in time.
    #[error("armed, but no good command came")]
    NoFirstCommand,
    /// Time went backwards, so no deadline can be trusted.
    #[error("the clock went backwards")]
    ClockWentBack,
    /// An operator stopped the car.
    #[error("an operator stopped the car")]
    Operator,
    /// A component of the car failed.
    #[error(transparent)]
    Fault(Fault),
}

/// The state of a guard. A new guard is [`State::Disarmed`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum State {
    /// No operator has armed the car.
    #[default]
    Disarmed,
    /// Armed, without a good command so far.
    Armed(Armed),
    /// A good command is in force.
    Driving(Driving),
    /// An operator trims the servo's centre and ends.
    Trimming(Trimming),
    /// Stopped while driving ahead, with the brake on; then it is stopped.
    Braking(Braking),
    /// Stopped, until an operator arms or disarms it.
    Stopped {
        /// The first reason for the stop.
        reason: StopReason,
    },
}

/// Armed, without a good command so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Armed {
    /// When the car was armed.
    pub armed: Time,
    /// The time of the last step.
    pub seen: Time,
}

/// A trim value is in force. It is held for one deadline; then the guard stops the car.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trimming {
    /// When the operator's program last confirmed the value.
    pub confirmed: Time,
    /// The steering channel, -1 to 1; the throttle is at 0.
    pub steering: f32,
}

/// The car was stopped while it was driving ahead, and brakes for [`LimitsSpec::brake`].
///
/// [`LimitsSpec::brake`]: crate::LimitsSpec::brake
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Braking {
    /// When the car was stopped.
    pub began: Time,
    /// The first reason for the stop.
    pub reason: StopReason,
}

/// A good command is in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Driving {
    /// When the car was armed.
    pub armed: Time,
    /// The time of the last step, up to which the channels have moved.
    pub seen: Time,
    /// When the last good command was accepted.
    pub accepted: Time,
    /// The sequence number of the last good command.
    pub sequence: u64,
    /// The steering channel.
    pub steering: Motion,
    /// The throttle channel.
    pub throttle: Motion,
}

/// A channel that moves towards its target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motion {
    /// The current output, -1 to 1.
    pub value: f32,
    /// The value of the last good command, -1 to 1, clamped to the channel's range.
    pub target: f32,
}

impl State {
    /// The output in this state.
    pub const fn output(&self, limits: &Limits) -> Output {
        match self {
            Self::Disarmed => Output::disarmed(limits),
            Self::Armed(_) | Self::Stopped { .. } => Output::failsafe(limits),
            Self::Braking(_) => Output::brake(limits),
            Self::Driving(driving) => Output {
                mode: Mode::Drive,
                steering: driving.steering.value,
                throttle: driving.throttle.value,
            },
            Self::Trimming(trimming) => Output {
                mode: Mode::Drive,
                steering: trimming.steering,
                throttle: 0.0,
            },
        }
    }

    /// When this state expires and the car is stopped, unless a good command is accepted before; or
    /// when the brake is released.
    /// The executor must run [`step`](crate::step) at that time, not only at the next tick.
    pub fn expires(&self, limits: &Limits) -> Option<Time> {
        match self {
            Self::Armed(armed) => Some(armed.armed + limits.spec().first_command),
            Self::Driving(driving) => Some(driving.accepted + limits.patience()),
            Self::Trimming(trimming) => Some(trimming.confirmed + limits.patience()),
            Self::Braking(braking) => Some(braking.began + limits.spec().brake),
            Self::Disarmed | Self::Stopped { .. } => None,
        }
    }

    /// Why the car is stopped, if it is, with or without the brake.
    pub const fn stopped(&self) -> Option<StopReason> {
        match self {
            Self::Braking(Braking { reason, .. }) | Self::Stopped { reason } => Some(*reason),
            _ => None,
        }
    }
}
