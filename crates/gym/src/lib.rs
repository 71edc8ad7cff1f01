//! The protocol of Donkeycar's simulator: the simulated car for its clients, and its car for Pilotage.
//!
//! Donkeycar's simulator ([sdsandbox](https://github.com/tawnkramer/sdsandbox)) is a TCP server. Its
//! clients ([gym-donkeycar](https://github.com/tawnkramer/gym-donkeycar), and through it Donkeycar's
//! `DONKEY_GYM`) send JSON objects, one after the other, and get one object to a line: the camera's
//! picture, the car's state. [`Server`] answers them with the car, the camera and the circuits of
//! `pilotage-simulator`: each connection has a car of its own.
//!
//! [`relay`] is the other way: a car in Donkeycar's simulator, or in any server of the protocol, becomes
//! a camera and motors for `pilotage drive`.
//!
//! The protocol is known from its clients' source alone. Axes are Unity's: x to the right, y up, z
//! ahead, angles in degrees and clockwise from above.

mod devices;
mod error;
mod message;
mod reader;
pub mod relay;
mod scene;
mod server;
mod session;
mod telemetry;

pub use error::SessionError;
pub use message::{Reply, Request};
pub use reader::{Reader, ReaderError};
pub use server::{Pace, Server};
pub use session::{Options, Session};
pub use telemetry::Telemetry;
