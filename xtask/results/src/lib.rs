//! The tasks that measure and drive, with the commands that users have, and write a page of results:
//! `cargo xtask evaluate` and `cargo xtask tables`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer tool, which drives no car"
)]

mod circuits;
pub mod evaluate;
mod origin;
pub mod tables;
