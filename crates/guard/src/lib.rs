//! The guard decides what reaches the motors. The pilot thinks; the guard acts.
//!
//! [`step`] is the whole policy: a pure function of a [`State`], the [`Limits`],
//! a moment and an [`Event`], with no clock and no I/O inside. The same function
//! runs in the process, in the simulator and under the model checker
//! (`tests/model`). `docs/safety.md` numbers the rules it keeps.
//!
//! A pilot speaks to a guard over a [`Link`]; a guard speaks to the motors over
//! an [`Actuator`]. [`InProcessLink`] is a guard inside the pilot's process,
//! moved by the injected clock: what the simulated car drives with. [`actuators`] are
//! the motors of real cars.

mod actuator;
pub mod actuators;
#[cfg(feature = "conformance")]
pub mod conformance;
mod daemon;
mod in_process;
mod limits;
mod link;
pub mod notify;
mod output;
mod policy;
mod process;
mod queue;
mod relay;
mod server;
mod settings;
mod socket_link;
mod state;
mod stop;
mod sys;
mod trim;
mod users;
pub mod wire;

pub use actuator::{Actuator, ActuatorError};
pub use daemon::{DaemonError, failsafe, guard};
pub use in_process::{InProcessLink, StartError};
pub use limits::{Channel, Limits, LimitsError, LimitsSpec};
pub use link::{Counters, Link, LinkError, Status};
pub use output::{Mode, Output};
pub use policy::{ArmRequest, Event, Refusal, Step, step};
pub use process::{ProcessError, Reach, monotonic, run};
pub use queue::QUEUE_CAPACITY;
pub use relay::Relay;
pub use server::{Allowed, Server};
pub use settings::{CarFileError, ChannelSettings, GuardSettings, GuardedCar, USUAL_RATE};
pub use socket_link::{ConnectError, SocketLink};
pub use state::{Armed, Domain, Driving, Fault, Motion, State, StopReason};
pub use stop::{StopError, Stopped, stop};
pub use trim::{Point, Trim, TrimError, Value};
pub use users::{NoSuchGroup, NoSuchUser, group_id, user_id};
