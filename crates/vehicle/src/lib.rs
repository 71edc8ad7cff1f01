//! The types that all of Pilotage shares: time, the network's answer ([`Controls`]), the actuator's
//! command ([`Command`]), the [`Mixer`] that converts between them, what sensors measure on the car
//! ([`Measurements`], [`Scan`]), a part's [`Fault`], and the [`Domain`] of engines and actuators.
//!
//! Signs follow ROS REP 103: x ahead, y to the left; positive yaw rate and positive steering are to
//! the left. Units are SI: metres, seconds, radians.

mod calendar;
mod clock;
mod command;
mod domain;
mod fault;
mod high_level;
mod measurement;
mod mixer;
mod scan;

pub use calendar::date;
pub use clock::{Clock, Monotonic, Time, monotonic};
pub use command::{Command, Controls};
pub use domain::{Domain, UnknownDomain};
pub use fault::Fault;
pub use high_level::{LONGEST_COMMAND, is_command_name};
pub use measurement::{MeasuredSpeed, Measurement, Measurements};
pub use mixer::{Mixer, MixerError};
pub use scan::{MOST_RAYS, Rays, Scan};
