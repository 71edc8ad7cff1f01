//! The faults, and the expected results.

use std::time::Duration;

use crate::judge::Expected;
use crate::{DEADLINE, FROZEN, PERIOD, SLACK, STOP};

/// Where the pilot runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// In a process group of its own, with standard error to a pipe.
    Service,
    /// In the foreground of an interactive shell on a pseudo-terminal.
    Terminal,
}

/// What is wrong with car.toml when an operator stops the car.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    HalfAKey,
    Empty,
    OutOfRange,
    OtherSocket,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    PilotKilled,
    PilotCrashes,
    PilotFreezes,
    PilotFreezesInAFlood,
    GroupKilled,
    GroupFreezes,
    TerminalInterrupt,
    TerminalSuspend,
    TerminalQuit,
    TerminalHangsUp,
    CameraStalls,
    CameraEnds,
    PictureFreezes,
    GuardKilled,
    GuardFreezes,
    GuardKilledBesideAFrozenPilot,
    GuardFreezesBesideAFrozenPilot,
    Stop,
    StopOfAFrozenGuard,
    StopWith(Broken),
    StopWithoutSocket,
    StopBesideIdleConnections,
    HeldStopButton,
    StopButtonWithoutStderr,
    DryRunBeside,
}

impl Fault {
    pub const ALL: [Self; 28] = [
        Self::PilotKilled,
        Self::PilotCrashes,
        Self::PilotFreezes,
        Self::PilotFreezesInAFlood,
        Self::GroupKilled,
        Self::GroupFreezes,
        Self::TerminalInterrupt,
        Self::TerminalSuspend,
        Self::TerminalQuit,
        Self::TerminalHangsUp,
        Self::CameraStalls,
        Self::CameraEnds,
        Self::PictureFreezes,
        Self::GuardKilled,
        Self::GuardFreezes,
        Self::GuardKilledBesideAFrozenPilot,
        Self::GuardFreezesBesideAFrozenPilot,
        Self::Stop,
        Self::StopOfAFrozenGuard,
        Self::StopWith(Broken::HalfAKey),
        Self::StopWith(Broken::Empty),
        Self::StopWith(Broken::OutOfRange),
        Self::StopWith(Broken::OtherSocket),
        Self::StopWithoutSocket,
        Self::StopBesideIdleConnections,
        Self::HeldStopButton,
        Self::StopButtonWithoutStderr,
        Self::DryRunBeside,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::PilotKilled => "pilot: SIGKILL",
            Self::PilotCrashes => "pilot: SIGSEGV",
            Self::PilotFreezes => "pilot: SIGSTOP",
            Self::PilotFreezesInAFlood => "pilot: SIGSTOP, its guard flooded",
            Self::GroupKilled => "pilot's process group: SIGKILL",
            Self::GroupFreezes => "pilot's process group: SIGSTOP",
            Self::TerminalInterrupt => "pilot's terminal: Ctrl-C",
            Self::TerminalSuspend => "pilot's terminal: Ctrl-Z, then `fg`",
            Self::TerminalQuit => r"pilot's terminal: Ctrl-\",
            Self::TerminalHangsUp => "pilot's terminal: closed",
            Self::CameraStalls => "camera: no more frames",
            Self::CameraEnds => "camera: its command dies",
            Self::PictureFreezes => "camera: the same frame again and again",
            Self::GuardKilled => "guard: SIGKILL",
            Self::GuardFreezes => "guard: SIGSTOP",
            Self::GuardKilledBesideAFrozenPilot => "guard: SIGKILL, the pilot frozen",
            Self::GuardFreezesBesideAFrozenPilot => "guard: SIGSTOP, the pilot frozen",
            Self::Stop => "`pilotage stop`, from its start",
            Self::StopOfAFrozenGuard => "`pilotage stop`, the guard frozen",
            Self::StopWith(Broken::HalfAKey) => "`pilotage stop`, car.toml half written",
            Self::StopWith(Broken::Empty) => "`pilotage stop`, car.toml empty",
            Self::StopWith(Broken::OutOfRange) => "`pilotage stop`, a value out of range",
            Self::StopWith(Broken::OtherSocket) => "`pilotage stop`, another socket named",
            Self::StopWithoutSocket => "`pilotage stop`, the socket removed",
            Self::StopBesideIdleConnections => "`pilotage stop`, 16 idle connections",
            Self::HeldStopButton => "stop button held, then arming",
            Self::StopButtonWithoutStderr => "stop button, standard error closed",
            Self::DryRunBeside => "a dry run with the car's socket: no motion",
        }
    }

    /// The longest time from the fault to failsafe, without jitter.
    pub fn limit(self) -> Duration {
        match self {
            // One more frame may have been in flight.
            Self::PictureFreezes => PERIOD * (FROZEN + 1) + DEADLINE + SLACK,
            Self::GuardKilled
            | Self::GuardFreezes
            | Self::GuardKilledBesideAFrozenPilot
            | Self::GuardFreezesBesideAFrozenPilot => DEADLINE * 2 + SLACK,
            Self::DryRunBeside => Duration::ZERO,
            fault if fault.stops() || fault.by_button() => STOP,
            _ => DEADLINE + SLACK,
        }
    }

    pub fn expected(self) -> Expected {
        match self {
            Self::TerminalInterrupt | Self::TerminalHangsUp => Expected::Rest,
            Self::DryRunBeside => Expected::Nothing,
            _ => Expected::Failsafe,
        }
    }

    pub fn seat(self) -> Seat {
        match self {
            Self::TerminalInterrupt
            | Self::TerminalSuspend
            | Self::TerminalQuit
            | Self::TerminalHangsUp => Seat::Terminal,
            _ => Seat::Service,
        }
    }

    /// Whether `pilotage stop` runs.
    pub fn stops(self) -> bool {
        matches!(
            self,
            Self::Stop
                | Self::StopOfAFrozenGuard
                | Self::StopWith(_)
                | Self::StopWithoutSocket
                | Self::StopBesideIdleConnections
        )
    }

    /// Whether the gamepad's stop button is pressed.
    pub fn by_button(self) -> bool {
        matches!(self, Self::HeldStopButton | Self::StopButtonWithoutStderr)
    }

    /// Whether the guard responds when it shall stop the car.
    pub fn leaves_the_guard_healthy(self) -> bool {
        !matches!(self, Self::StopOfAFrozenGuard | Self::StopWithoutSocket)
    }

    /// Whether pilot and guard must be restarted afterwards, though both may still run.
    pub fn uses_up_the_pilot(self) -> bool {
        self.seat() == Seat::Terminal || self == Self::StopButtonWithoutStderr
    }
}
