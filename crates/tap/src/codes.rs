//! The codes of a guard's states, stop reasons and faults in a record. A `match` without a catch-all arm
//! makes a variant without a code an error of compilation. A code is never reused.

use pilotage_guard_policy::{Braking, State, StopReason};
use pilotage_vehicle::Fault;

/// The state of the guard, as an observer reads it from a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum GuardState {
    /// No report of the guard has arrived, or its code is unknown to this program.
    #[default]
    Unknown,
    /// No operator has armed the car.
    Disarmed,
    /// Armed, without a good command so far.
    Armed,
    /// A good command is in force.
    Driving,
    /// Stopped; the reason is `None` if its code is unknown to this program.
    Stopped(Option<StopReason>),
    /// An operator trims the actuator.
    Trimming,
}

/// Offset of a fault's code in a stop reason's code.
const FAULTS: u32 = 16;

impl GuardState {
    /// The codes of state and stop reason; the reason's is 0 in a state without one.
    pub(crate) fn codes(self) -> (u32, u32) {
        match self {
            Self::Unknown => (0, 0),
            Self::Disarmed => (1, 0),
            Self::Armed => (2, 0),
            Self::Driving => (3, 0),
            Self::Stopped(reason) => (4, reason.map_or(0, stop_code)),
            Self::Trimming => (5, 0),
        }
    }

    /// The inverse of [`codes`](Self::codes).
    pub(crate) fn of_codes(state: u32, reason: u32) -> Self {
        match state {
            1 => Self::Disarmed,
            2 => Self::Armed,
            3 => Self::Driving,
            4 => Self::Stopped(stop_reason(reason)),
            5 => Self::Trimming,
            _ => Self::Unknown,
        }
    }
}

impl From<State> for GuardState {
    fn from(state: State) -> Self {
        match state {
            State::Disarmed => Self::Disarmed,
            State::Armed(_) => Self::Armed,
            State::Driving(_) => Self::Driving,
            State::Trimming(_) => Self::Trimming,
            State::Stopped { reason } | State::Braking(Braking { reason, .. }) => {
                Self::Stopped(Some(reason))
            }
        }
    }
}

const fn stop_code(reason: StopReason) -> u32 {
    match reason {
        StopReason::Deadline => 1,
        StopReason::NoFirstCommand => 2,
        StopReason::ClockWentBack => 3,
        StopReason::Operator => 4,
        StopReason::Fault(fault) => FAULTS + fault_code(fault),
    }
}

fn stop_reason(code: u32) -> Option<StopReason> {
    match code {
        1 => Some(StopReason::Deadline),
        2 => Some(StopReason::NoFirstCommand),
        3 => Some(StopReason::ClockWentBack),
        4 => Some(StopReason::Operator),
        _ => fault(code.checked_sub(FAULTS)?).map(StopReason::Fault),
    }
}

/// The code of a fault; never 0.
pub(crate) const fn fault_code(fault: Fault) -> u32 {
    match fault {
        Fault::Camera => 1,
        Fault::FrozenPicture => 2,
        Fault::Engine => 3,
        Fault::Pilot => 4,
        Fault::Gamepad => 5,
        Fault::Actuator => 6,
    }
}

/// The inverse of [`fault_code`].
pub(crate) const fn fault(code: u32) -> Option<Fault> {
    match code {
        1 => Some(Fault::Camera),
        2 => Some(Fault::FrozenPicture),
        3 => Some(Fault::Engine),
        4 => Some(Fault::Pilot),
        5 => Some(Fault::Gamepad),
        6 => Some(Fault::Actuator),
        _ => None,
    }
}

/// What exactly failed when no command was sent, beyond the fault that the guard is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultDetail {
    /// The camera gave no frame in time.
    NoFrame,
    /// The camera was unplugged, ended or failed, or is being opened again.
    CameraGone,
    /// The camera gave the same picture again and again.
    FrozenPicture,
    /// The camera gave black pictures.
    BlackPicture,
    /// A frame cannot be used.
    BadFrame,
    /// The engine, or its device, did not answer in time.
    EngineLate,
    /// The engine's answer is not a number.
    NotFinite,
    /// The engine failed in another way.
    EngineFailed,
    /// The guard has ended or has closed the connection.
    GuardGone,
    /// The guard does not answer, or takes no commands.
    GuardSilent,
    /// The engine's answer is no path that the car can follow.
    NoPath,
    /// A number that the network gets was not measured, or too long ago.
    NoMeasurement,
    /// The scan that the network gets is missing or too old.
    NoScan,
}

impl FaultDetail {
    /// All details; the code of each is its place here, counted from 1.
    const ALL: [Self; 13] = [
        Self::NoFrame,
        Self::CameraGone,
        Self::FrozenPicture,
        Self::BlackPicture,
        Self::BadFrame,
        Self::EngineLate,
        Self::NotFinite,
        Self::EngineFailed,
        Self::GuardGone,
        Self::GuardSilent,
        Self::NoPath,
        Self::NoMeasurement,
        Self::NoScan,
    ];

    /// The code; never 0.
    pub(crate) const fn code(self) -> u32 {
        self as u32 + 1
    }

    /// The inverse of [`code`](Self::code).
    pub(crate) fn of_code(code: u32) -> Option<Self> {
        let place = code.checked_sub(1)? as usize;
        Self::ALL.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_a_state_decodes_to_what_it_encodes() {
        let mut states = 0;
        for state in 0..8 {
            for reason in 0..40 {
                let decoded = GuardState::of_codes(state, reason);
                let expected_reason = match decoded {
                    GuardState::Stopped(Some(_)) => reason,
                    _ => 0,
                };
                let (encoded, encoded_reason) = decoded.codes();
                assert_eq!(encoded_reason, expected_reason);
                if decoded != GuardState::Unknown {
                    assert_eq!(encoded, state);
                    states += usize::from(reason == 0 || expected_reason != 0);
                }
            }
        }
        // Five states, and ten reasons of a stop.
        assert_eq!(states, 5 + 10);
    }

    #[test]
    fn every_code_of_a_detail_decodes_to_what_it_encodes() {
        for detail in FaultDetail::ALL {
            assert_eq!(FaultDetail::of_code(detail.code()), Some(detail));
        }
        assert_eq!(FaultDetail::of_code(0), None);
        assert_eq!(FaultDetail::of_code(14), None);
    }
}
