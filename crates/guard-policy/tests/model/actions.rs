//! The actions of the model, and the guard's limits in it.

use std::time::Duration;

use pilotage_guard_policy::{ArmRequest, Channel, Event, Interlocks, Limits, LimitsSpec};
use pilotage_vehicle::{Command, Domain, Fault, Time};

/// 1/64 s, so that the slew per tick is exact in f32.
pub const TICK: Duration = Duration::from_nanos(15_625_000);
pub const DEADLINE: u8 = 4;
pub const ACTUATOR_DELAY: u8 = 1;
pub const MAX_AGE: u8 = 2;
pub const FIRST_COMMAND: u8 = 5;
pub const BRAKE: u8 = 2;
/// Ages saturate at this number of ticks, which exceeds every limit and the time for a full range
/// at the slew rate.
pub const AGE_LIMIT: u8 = 6;
/// The current time, in every state of the model.
pub const NOW: Time = Time::from_nanos(1_000_000_000_000);
/// The sequence number of the last good command, in every state of the model.
pub const SEQUENCE: u64 = 1000;

pub fn ago(ticks: u8) -> Time {
    NOW - u32::from(ticks) * TICK
}

pub fn limits() -> Limits {
    Limits::new(LimitsSpec {
        steering: Channel {
            failsafe: 0.5,
            disarmed: -0.5,
            min: -1.0,
            max: 1.0,
            slew_per_second: 64.0,
        },
        throttle: Channel {
            failsafe: 0.0,
            disarmed: 0.0,
            min: -0.25,
            max: 0.5,
            slew_per_second: 32.0,
        },
        frame_period: TICK,
        deadline: u32::from(DEADLINE) * TICK,
        actuator_delay: u32::from(ACTUATOR_DELAY) * TICK,
        max_age: u32::from(MAX_AGE) * TICK,
        first_command: u32::from(FIRST_COMMAND) * TICK,
        brake: u32::from(BRAKE) * TICK,
        actuator: Domain::Physical,
    })
    .unwrap()
}

/// The steering of a trim value.
pub const TRIMMED: f32 = -1.0;

/// The kinds of command that a correct or faulty pilot may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandClass {
    Neutral,
    Minimum,
    Maximum,
    /// The greatest allowed age.
    Oldest,
    OutOfRange,
    NotANumber,
    Infinite,
    /// One tick too old.
    Stale,
    /// Captured one tick in the future.
    FromFuture,
    Replayed,
    /// With a lower sequence number than the last one.
    OutOfOrder,
}

pub const CLASSES: [CommandClass; 11] = [
    CommandClass::Neutral,
    CommandClass::Minimum,
    CommandClass::Maximum,
    CommandClass::Oldest,
    CommandClass::OutOfRange,
    CommandClass::NotANumber,
    CommandClass::Infinite,
    CommandClass::Stale,
    CommandClass::FromFuture,
    CommandClass::Replayed,
    CommandClass::OutOfOrder,
];

impl CommandClass {
    pub fn command(self) -> Command {
        let most = Command {
            steering: 1.0,
            throttle: 1.0,
            captured: NOW,
            sequence: SEQUENCE + 1,
        };
        match self {
            Self::Neutral => Command {
                steering: 0.0,
                throttle: 0.0,
                ..most
            },
            Self::Minimum => Command {
                steering: -1.0,
                throttle: -1.0,
                ..most
            },
            Self::Maximum => most,
            Self::Oldest => Command {
                captured: ago(MAX_AGE),
                ..most
            },
            Self::OutOfRange => Command {
                steering: 1.0 + f32::EPSILON,
                ..most
            },
            Self::NotANumber => Command {
                throttle: f32::NAN,
                ..most
            },
            Self::Infinite => Command {
                steering: f32::NEG_INFINITY,
                ..most
            },
            Self::Stale => Command {
                captured: ago(MAX_AGE + 1),
                ..most
            },
            Self::FromFuture => Command {
                captured: NOW + TICK,
                ..most
            },
            Self::Replayed => Command {
                sequence: SEQUENCE,
                ..most
            },
            Self::OutOfOrder => Command {
                sequence: SEQUENCE - 1,
                ..most
            },
        }
    }

    /// Whether the guard must accept the command, `armed` ticks after the arming, and with
    /// (`driven`) or without an earlier good command.
    pub fn good(self, armed: u8, driven: bool) -> bool {
        match self {
            Self::Neutral | Self::Minimum | Self::Maximum => true,
            Self::Oldest => armed >= MAX_AGE,
            Self::Replayed | Self::OutOfOrder => !driven,
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// One tick passes without a step of the guard.
    Pass,
    Tick,
    /// A step one tick before the last step's time.
    ClockBack,
    ArmPhysical,
    ArmSimulated,
    /// Arming while an operator holds a stop button.
    ArmHeld,
    /// Arming while writes to the actuator fail.
    ArmFailed,
    Disarm,
    Stop,
    /// A trim value is confirmed.
    Trim,
    /// A trim value while an operator holds a stop button.
    TrimHeld,
    Fault,
    /// A write to the actuator fails.
    ActuatorFault,
    Command(CommandClass),
}

impl Action {
    pub fn event(self) -> Event {
        let none = Interlocks::default();
        let held = Interlocks {
            stop_held: true,
            ..none
        };
        let failed = Interlocks {
            actuator_failed: true,
            ..none
        };
        let arm = |engine, interlocks| Event::Arm(ArmRequest { engine }, interlocks);
        match self {
            Self::Pass | Self::Tick | Self::ClockBack => Event::Tick,
            Self::ArmPhysical => arm(Domain::Physical, none),
            Self::ArmSimulated => arm(Domain::Simulated, none),
            Self::ArmHeld => arm(Domain::Physical, held),
            Self::ArmFailed => arm(Domain::Physical, failed),
            Self::Trim => Event::Trim(TRIMMED, none),
            Self::TrimHeld => Event::Trim(TRIMMED, held),
            Self::Disarm => Event::Disarm,
            Self::Stop => Event::Stop,
            Self::Fault => Event::Fault(Fault::Camera),
            Self::ActuatorFault => Event::Fault(Fault::Actuator),
            Self::Command(class) => Event::Command(class.command()),
        }
    }
}
