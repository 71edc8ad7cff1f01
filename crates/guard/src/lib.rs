//! The guard decides what reaches the motors. The pilot decides where to drive.
//!
//! [`step`] is the guard's whole policy: a pure function of a [`State`], the [`Limits`], a time and
//! an [`Event`], without a clock or I/O. The same function runs in the guard process, in the
//! simulator and under the model checker (`tests/model`). `docs/safety.md` numbers the rules that
//! it enforces.
//!
//! An [`Executor`] runs the policy over an [`Actuator`]. A pilot reaches it over a [`Link`]: an
//! [`InProcessLink`] on simulated time, otherwise a [`SocketLink`] to a [`Server`] in its own
//! process. [`actuators`] are the motors of physical cars; only the program `pilotage-guard` opens
//! them.

mod actuator;
pub mod actuators;
#[cfg(feature = "conformance")]
pub mod conformance;
mod daemon;
mod executor;
mod identity;
mod in_process;
mod limits;
mod link;
pub mod notify;
mod output;
mod policy;
mod process;
mod process_id;
mod queue;
mod record;
mod relay;
mod server;
mod settings;
mod share;
mod socket_link;
mod state;
mod stop;
mod sys;
mod trim;
mod users;
mod watcher;
pub mod wire;

pub use actuator::{Actuator, ActuatorError};
pub use daemon::{DaemonError, Running, failsafe, guard};
pub use executor::{Executor, StartError};
pub use identity::{Difference, Identity, LONGEST_IDENTITY};
pub use in_process::InProcessLink;
pub use limits::{Channel, Limits, LimitsError, LimitsSpec};
pub use link::{Counters, FailureText, Link, LinkError, Status};
pub use output::{Mode, Output};
pub use policy::{ArmRequest, Event, Interlocks, Refusal, Step, step};
pub use process::{
    ProcessError, ServeOptions, end_with_parent, leave_session, monotonic, raise_priority, run,
};
pub use process_id::ProcessId;
pub use queue::QUEUE_CAPACITY;
pub use record::{INSTALLED, Record, canonical, default_socket, own_directory};
pub use relay::Relay;
pub use server::{Allowed, Identification, Server};
pub use settings::{CarFileError, ChannelSettings, DEFAULT_RATE, GuardSettings, GuardedCar};
pub use socket_link::{ConnectError, HelloError, SocketLink};
pub use state::{Armed, Domain, Driving, Fault, Motion, State, StopReason, Trimming};
pub use stop::{StopError, Stopped, Target, stop, stop_all};
pub use sys::limit_to_one_heap;
pub use trim::{Point, TrimTable, Value};
pub use users::{NoSuchGroup, NoSuchUser, group_id, user_id};
pub use watcher::{NOT_STARTED, WatchError, watch};
