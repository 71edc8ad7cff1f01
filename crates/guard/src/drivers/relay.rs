//! The actuator of the simulated car, which another process moves.

use std::io;
use std::os::fd::OwnedFd;

use pilotage_vehicle::Time;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::protocol::wire::{APPLIED_LEN, Applied};
use crate::{Actuator, ActuatorError, Output};

/// Sends the guard's output to the process that moves the car, at each tick and at each change. If
/// no more outputs arrive, the guard is dead or frozen.
#[derive(Debug)]
pub struct Relay {
    connection: OwnedFd,
}

impl Relay {
    /// Sends over `connection`, a `SOCK_SEQPACKET` socket.
    pub fn new(connection: OwnedFd) -> Self {
        Self { connection }
    }

    /// Reads the next output at the other end of the connection, without waiting. `None` if no
    /// output has arrived.
    ///
    /// # Errors
    /// When the guard has closed its end.
    pub fn read(connection: &OwnedFd) -> io::Result<Option<Applied>> {
        let mut bytes = [0; APPLIED_LEN + 1];
        loop {
            match rustix::net::recv(connection, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // Skip messages that do not parse.
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
            return match rustix::net::send(&self.connection, &applied.write(), flags) {
                Ok(_) => Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => Err(ActuatorError::Write {
                    device: "simulated car".into(),
                    reason: error.into(),
                }),
            };
        }
    }
}
