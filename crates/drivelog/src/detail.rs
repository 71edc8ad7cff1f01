//! The detail of a fault, as the log has it.

use pilotage_tap::FaultDetail;
use serde::{Deserialize, Serialize};

/// What exactly failed when no command was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detail {
    /// The camera gave no frame in time.
    NoFrame,
    /// The camera was unplugged, ended or failed.
    CameraGone,
    /// The same picture again and again.
    FrozenPicture,
    /// Black pictures.
    BlackPicture,
    /// A frame cannot be used.
    BadFrame,
    /// The engine or its device did not answer in time.
    EngineLate,
    /// The engine's answer is not a number.
    NotFinite,
    /// The engine failed in another way.
    EngineFailed,
    /// The guard has ended.
    GuardGone,
    /// The guard does not answer.
    GuardSilent,
    /// The engine's answer is no path that the car can follow.
    NoPath,
    /// A number that the network gets was not measured, or too long ago.
    NoMeasurement,
    /// The scan that the network gets is missing or too old.
    NoScan,
    /// A detail that this version does not know.
    #[serde(other)]
    Unknown,
}

impl From<FaultDetail> for Detail {
    fn from(detail: FaultDetail) -> Self {
        match detail {
            FaultDetail::NoFrame => Self::NoFrame,
            FaultDetail::CameraGone => Self::CameraGone,
            FaultDetail::FrozenPicture => Self::FrozenPicture,
            FaultDetail::BlackPicture => Self::BlackPicture,
            FaultDetail::BadFrame => Self::BadFrame,
            FaultDetail::EngineLate => Self::EngineLate,
            FaultDetail::NotFinite => Self::NotFinite,
            FaultDetail::EngineFailed => Self::EngineFailed,
            FaultDetail::GuardGone => Self::GuardGone,
            FaultDetail::GuardSilent => Self::GuardSilent,
            FaultDetail::NoPath => Self::NoPath,
            FaultDetail::NoMeasurement => Self::NoMeasurement,
            FaultDetail::NoScan => Self::NoScan,
            _ => Self::Unknown,
        }
    }
}
