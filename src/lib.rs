//! The runtime: joins camera, vision, engine, pilot, guard and actuator into one loop.
//!
//! [`drive`] has the one loop; the loop body of an engine is [`pilot::Pilot::step`].

pub mod car;
pub mod commands;
pub mod doctor;
pub mod drive;
pub mod engines;
mod film;
pub mod guarded;
pub mod high_level;
mod machine;
pub mod odometry;
pub mod operator;
pub mod pilot;
pub mod plot;
mod progress;
pub mod recorder;
mod replay;
pub mod report;
mod results;
pub mod sensors;
pub mod signature;
pub mod simulation;
mod times;
