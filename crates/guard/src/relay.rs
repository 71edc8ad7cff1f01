//! The motors of a car that another process moves: the simulator's.

use std::io;
use std::os::fd::OwnedFd;

use pilotage_vehicle::Time;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::wire::{APPLIED, Applied};
use crate::{Actuator, ActuatorError, Output};

/// Sends the guard's output to the process that moves the car, each tick and at each change:
/// where nothing comes any more, the guard is dead or frozen.
#[derive(Debug)]
pub struct Relay {
    line: OwnedFd,
}

impl Relay {
    /// Over `line`, which keeps the bounds of messages.
    pub fn new(line: OwnedFd) -> Self {
        Self { line }
    }

    /// Reads what has come over the other end of such a line, without waiting: `None` when
    /// there is no more for now.
    ///
    /// # Errors
    /// When the guard's end is closed.
    pub fn read(line: &OwnedFd) -> io::Result<Option<Applied>> {
        let mut bytes = [0; APPLIED + 1];
        loop {
            match rustix::net::recv(line, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // What is no message moves nothing.
                Ok((length, _)) => {
                    if let Ok(applied) = Applied::read(&bytes[..length.min(bytes.len())]) {
                        return Ok(Some(applied));
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Actuator for Relay {
    fn name(&self) -> &str {
        "simulated car"
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        let applied = Applied {
            at: now,
            output: *output,
        };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            return match rustix::net::send(&self.line, &applied.write(), flags) {
                Ok(_) => Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => Err(ActuatorError::Write {
                    device: "simulated car".into(),
                    source: error.into(),
                }),
            };
        }
    }
}
