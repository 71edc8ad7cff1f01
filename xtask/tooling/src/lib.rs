//! What the project's development tasks share: the checkout's paths, external commands, the
//! requirements of a task on the machine, and counts of tests.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "part of a developer tool, which drives no car"
)]

pub mod checkout;
pub mod invocation;
pub mod requirements;
pub mod tally;
