//! The types that all of Pilotage shares: time, the network's answer ([`Controls`]), the actuator's
//! command ([`Command`]), and the [`Mixer`] that converts between them.
//!
//! Signs follow ROS REP 103: x ahead, y to the left; positive yaw rate and positive steering are to
//! the left. Units are SI: metres, seconds, radians.

mod clock;
mod command;
mod mixer;

pub use clock::{Clock, Time};
pub use command::{Command, Controls};
pub use mixer::{Mixer, MixerError};
