//! The runtime: joins camera, vision, engine, pilot, guard and actuator into one loop.
//!
//! `pilotage drive` is [`commands::drive`]; the loop body is [`pilot::Pilot::step`].

pub mod car;
pub mod commands;
pub mod doctor;
pub mod engines;
pub mod gamepad;
pub mod guarded;
pub mod live;
mod machine;
pub mod pilot;
pub mod plot;
pub mod recorder;
pub mod report;
pub mod signature;
pub mod simulation;
