//! The words every part of Pilotage shares: time, what the network says
//! ([`Controls`]), what the car is told ([`Command`]), and the [`Mixer`] that
//! turns one into the other and back.
//!
//! Signs follow ROS REP 103: x ahead, y to the left, a positive yaw rate and a
//! positive steering turn left. Units are SI: metres, seconds, radians.

mod clock;
mod command;
mod mixer;

pub use clock::{Clock, Time};
pub use command::{Command, Controls};
pub use mixer::{Mixer, MixerError};
