//! Building for a Jetson, and trying the result without one: the tests of the engine on aarch64,
//! the .deb, its life in an arm64 system, and the virtual car.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "part of a developer tool, which drives no car"
)]

pub mod arm;
pub mod arm_root;
pub mod package;
pub mod virtual_car;
