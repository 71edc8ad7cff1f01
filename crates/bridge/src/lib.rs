//! A microcontroller between a guard and a car's servo and speed controller: its serial protocol, and
//! what it does with the commands, without any hardware. `docs/bridge.md` describes both.
//!
//! The guard's driver `bridge` and the firmware in `firmware/rp2040-bridge` use this crate, so that
//! what runs on the microcontroller is tested on a computer. It has no dependencies, no standard
//! library and no allocation.
//!
//! The microcontroller is a dead-man: without a new command for [`DEAD_MAN`] it brakes, if it was
//! given a brake, and then puts out the pulses for a stop, whatever the computer does. A radio
//! transmitter takes the car over, and its loss is a stop. After each of these the computer drives
//! again only after it has sent a command that does not drive.

#![no_std]

mod bridge;
mod frame;
mod remote;

pub use bridge::{Bridge, DEAD_MAN, Outputs};
pub use frame::{
    COMMAND, Command, Drive, LONGEST_BRAKE, Millis, PULSES, Parser, STATUS, State, Status, Us,
    crc16,
};
pub use remote::{Input, REMOTE_TIMEOUT};
