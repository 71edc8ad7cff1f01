//! The page that shows what a pilot does, and stops the car.
//!
//! This program reads the pilot's tap (`pilotage-tap`) and serves one page. On a car it is the only
//! program with a network socket. It cannot block, slow or crash the pilot, and can do no more to
//! the car than `pilotage stop`, `pilotage disarm` and `pilotage command`, and, only if the drive was started
//! so, than a gamepad. docs/security.md has the threat model.
//!
//! | module | what it does |
//! |---|---|
//! | `sampler` | a thread that reads the tap, encodes pictures, and publishes both as [`Live`] |
//! | `telemetry` | the messages to the page |
//! | `access` | token, host, origin, rates |
//! | `server` | connections, limits, routes |
//! | `session` | one page's WebSocket |
//! | `brake` | stop and disarm |
//! | `command` | high-level commands to the pilot |
//! | `wheel` | driving with the page |
//! | `recordings` | a page that shows recordings and marks records |
//! | `html` | responses with a page |
//! | `terminal` | the same numbers in a terminal |

#![forbid(unsafe_code)]

mod access;
mod brake;
mod command;
mod html;
mod live;
mod recordings;
mod sampler;
mod server;
mod session;
mod telemetry;
mod terminal;
mod wheel;

pub use access::{Access, Token};
pub use brake::{Brake, BrakeError, CarBrake};
pub use live::Live;
pub use recordings::Recordings;
pub use sampler::{Ends, PilotAt, Sampler};
pub use server::{Actions, Server, ServerError};
pub use terminal::terminal;
pub use wheel::Wheel;
