//! The code of each enum variant in a message. The `match` has no catch-all arm, so a variant
//! without a code does not compile. A code must never be reused for another variant.

use pilotage_vehicle::{Domain, Fault};

use super::Malformed;
use crate::trim::Point;
use crate::{Mode, Refusal, StopReason};

/// A value that is encoded as one byte of a message.
pub(super) trait Code: Sized {
    /// The code of this value; never 0.
    fn code(self) -> u8;

    /// The value of a code.
    fn decode(code: u8) -> Result<Self, Malformed>;
}

macro_rules! codes {
    ($of:ty: $($name:ident = $code:literal),+ $(,)?) => {
        impl Code for $of {
            fn code(self) -> u8 {
                match self {
                    $(Self::$name => $code),+
                }
            }

            fn decode(code: u8) -> Result<Self, Malformed> {
                match code {
                    $($code => Ok(Self::$name),)+
                    _ => Err(Malformed::Content),
                }
            }
        }
    };
}

codes!(Domain: Simulated = 1, Physical = 2);

codes!(Mode: Disarmed = 1, Failsafe = 2, Drive = 3, Brake = 4);

codes!(Point:
    Centre = 1,
    Left = 2,
    Right = 3,
    Neutral = 4,
    LeftWheel = 5,
    RightWheel = 6,
    Wheels = 7,
    OutputsOff = 8,
);

codes!(Fault:
    Camera = 1,
    FrozenPicture = 2,
    Engine = 3,
    Pilot = 4,
    Gamepad = 5,
    Actuator = 6,
);

codes!(Refusal:
    NotArmed = 1,
    NotFinite = 2,
    OutOfRange = 3,
    TooOld = 4,
    FromFuture = 5,
    BeforeArming = 6,
    Replayed = 7,
    AlreadyArmed = 8,
    SimulatedEngine = 9,
    NoPilot = 10,
    NotThePilot = 11,
    OtherCar = 12,
    OtherEngine = 13,
    PilotArms = 14,
    StopHeld = 15,
    ActuatorFailed = 16,
    NotTrimming = 17,
);

/// Offset of a fault's code in a stop reason's code.
const FAULTS: u8 = 16;

impl Code for StopReason {
    fn code(self) -> u8 {
        match self {
            Self::Deadline => 1,
            Self::NoFirstCommand => 2,
            Self::ClockWentBack => 3,
            Self::Operator => 4,
            Self::Fault(fault) => FAULTS + fault.code(),
        }
    }

    fn decode(code: u8) -> Result<Self, Malformed> {
        match code {
            1 => Ok(Self::Deadline),
            2 => Ok(Self::NoFirstCommand),
            3 => Ok(Self::ClockWentBack),
            4 => Ok(Self::Operator),
            fault => {
                let code = fault.checked_sub(FAULTS).ok_or(Malformed::Content)?;
                Fault::decode(code).map(Self::Fault)
            }
        }
    }
}
