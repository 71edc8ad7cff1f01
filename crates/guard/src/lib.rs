//! The guard decides what reaches the motors. The pilot decides where to drive.
//!
//! The guard's policy is the function [`step`] of the crate `pilotage-guard-policy`, whose types are
//! exported here too.
//!
//! An [`Executor`] runs the policy over an [`Actuator`]. A pilot reaches it over a [`CommandLink`], an operator over an
//! [`OperatorLink`]: an
//! [`InProcessLink`] on simulated time, otherwise a [`SocketLink`] to a [`Server`] in its own
//! process. [`drivers`] are the motors of physical cars; only the program `pilotage-guard` opens
//! them.

#![forbid(unsafe_code)]

#[cfg(feature = "conformance")]
pub mod conformance;
mod daemon;
pub mod drivers;
mod executor;
mod protocol;
mod settings;
mod trim;

pub use daemon::notify;
pub use daemon::places::{INSTALLED, canonical, default_socket, own_directory};
pub use daemon::process::{
    ProcessError, ServeOptions, end_with_parent, leave_session, raise_priority, run,
};
pub use daemon::process_id::ProcessId;
pub use daemon::programs::{
    GUARD_PROGRAM, ProgramError, ended_within, failsafe_by_program, program_beside,
};
pub use daemon::record::{Record, guard_socket};
pub use daemon::stop::{StopError, Stopped, Target, stop, stop_all};
pub use daemon::watcher::{NOT_STARTED, WatchError, watch};
pub use daemon::{DaemonError, Running, failsafe, guard};
pub use drivers::Relay;
pub use executor::actuator::{Actuator, ActuatorError};
pub use executor::in_process::InProcessLink;
pub use executor::queue::QUEUE_CAPACITY;
pub use executor::{Executor, StartError};
pub use pilotage_guard_policy::{
    ArmRequest, Armed, Braking, Channel, Driving, Event, Interlocks, Limits, LimitsError,
    LimitsSpec, Mode, Motion, Output, Refusal, State, Step, StopReason, Trimming, step,
};
pub use protocol::identity::{Difference, Identity, LONGEST_IDENTITY};
pub use protocol::link::{CommandLink, Counters, FailureText, LinkError, OperatorLink, Status};
pub use protocol::server::{Allowed, Identification, Server};
pub use protocol::socket_link::{ConnectError, HelloError, SocketLink};
pub use protocol::users::{NoSuchGroup, NoSuchUser, group_id, user_id};
pub use protocol::wire;
pub use settings::{CarFileError, ChannelSettings, DEFAULT_RATE, GuardSettings, GuardedCar};
pub use trim::{Point, TrimTable, Value};

/// The guard's real-time priority. It is below that of the kernel's interrupt threads (50), because
/// bus transfers wait for them.
pub(crate) const PRIORITY: i32 = 40;
