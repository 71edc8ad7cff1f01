//! `pilotage-guard` itself, over PWM pins that are files in a folder: whatever becomes of
//! it, the pins hold what they must.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test prints what it measured"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../../../../tests/pins/mod.rs"]
mod pins;

mod car;
mod deaths;
mod one_writer;
mod running;
mod stops;
