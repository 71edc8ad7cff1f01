//! The program `pilotage-guard`, with PWM pins that are files in a folder. However the guard ends,
//! the pins must have the right values.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test prints its measurements"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue fails"
)]

#[path = "../../../../tests/support/pins.rs"]
mod pins;

mod car;
mod deaths;
mod one_writer;
mod running;
mod stops;
