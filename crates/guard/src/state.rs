//! Where a guard stands.

use pilotage_vehicle::Time;
use serde::{Deserialize, Serialize};

use crate::{Limits, Mode, Output};

/// The world an engine was trained in, or an actuator moves in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Domain {
    /// The simulator.
    Simulated,
    /// A real car.
    Physical,
}

/// A fault that a part of the car reports. Each stops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// No frames, or broken ones.
    #[error("the camera failed")]
    Camera,
    /// The same picture over and over.
    #[error("the camera's picture is frozen")]
    FrozenPicture,
    /// An engine error.
    #[error("the engine failed")]
    Engine,
    /// The pilot is gone, or says that it cannot go on.
    #[error("the pilot is gone")]
    Pilot,
    /// The hand controller that was driving is gone.
    #[error("the gamepad is gone")]
    Gamepad,
    /// The actuator did not take a write.
    #[error("the actuator did not take a write")]
    Actuator,
}

/// Why a guard stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StopReason {
    /// The deadline passed without a good command.
    #[error("no good command within the deadline")]
    Deadline,
    /// Armed, but no first good command came.
    #[error("armed, but no good command came")]
    NoFirstCommand,
    /// Time went backwards, so no deadline can be trusted.
    #[error("the clock went backwards")]
    ClockWentBack,
    /// A person asked for it.
    #[error("an operator stopped the car")]
    Person,
    /// A part of the car failed.
    #[error(transparent)]
    Fault(Fault),
}

/// Where a guard stands. A new one is [`State::Disarmed`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum State {
    /// Nobody has armed it.
    #[default]
    Disarmed,
    /// Armed, without a good command so far.
    Armed(Armed),
    /// A good command is in force.
    Driving(Driving),
    /// An operator looks for the servo's centre and ends.
    Trimming(Trimming),
    /// Stopped, until an operator arms or disarms it.
    Stopped {
        /// What stopped it first.
        reason: StopReason,
    },
}

/// Armed, without a good command so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Armed {
    /// When it was armed.
    pub armed: Time,
    /// The last step's moment.
    pub seen: Time,
}

/// A trim value is in force. It is held for one deadline and then ends in failsafe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trimming {
    /// When the operator's program last confirmed the value.
    pub confirmed: Time,
    /// The steering channel; the throttle is at 0.
    pub steering: f32,
}

/// A good command is in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Driving {
    /// When it was armed.
    pub armed: Time,
    /// The last step's moment: the channels have moved up to here.
    pub seen: Time,
    /// When the last good command was accepted.
    pub accepted: Time,
    /// The last good command's sequence.
    pub sequence: u64,
    /// The steering channel.
    pub steering: Motion,
    /// The throttle channel.
    pub throttle: Motion,
}

/// One channel on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motion {
    /// What goes out now.
    pub value: f32,
    /// What the last good command asked for, within the channel's range.
    pub target: f32,
}

impl State {
    /// What goes out in this state.
    pub const fn output(&self, limits: &Limits) -> Output {
        match self {
            Self::Disarmed => Output::disarmed(limits),
            Self::Armed(_) | Self::Stopped { .. } => Output::failsafe(limits),
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

    /// The moment at which this state stops by itself unless a good command
    /// comes first. Whoever runs the guard steps it then, not only at the next tick.
    pub fn expires(&self, limits: &Limits) -> Option<Time> {
        match self {
            Self::Armed(armed) => Some(armed.armed + limits.spec().first_command),
            Self::Driving(driving) => Some(driving.accepted + limits.patience()),
            Self::Trimming(trimming) => Some(trimming.confirmed + limits.patience()),
            Self::Disarmed | Self::Stopped { .. } => None,
        }
    }

    /// Why it is stopped, if it is.
    pub const fn stopped(&self) -> Option<StopReason> {
        match self {
            Self::Stopped { reason } => Some(*reason),
            _ => None,
        }
    }
}
