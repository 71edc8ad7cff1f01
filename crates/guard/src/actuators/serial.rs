//! A serial line, raw and without waiting.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, QueueSelector};

use super::bus_lock;

/// An open port, locked against a second writer while it lives.
#[derive(Debug)]
pub(crate) struct Port(File);

impl Port {
    /// Opens `path` at `baud` bits a second; waits up to `patience` for another writer to
    /// let go of it.
    ///
    /// # Errors
    /// `WouldBlock` when another holds it; else what the system says.
    pub(crate) fn open(path: &Path, baud: u32, patience: Duration) -> io::Result<Self> {
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        let port = File::options()
            .read(true)
            .write(true)
            .custom_flags(flags.bits() as i32)
            .open(path)?;
        bus_lock::lock(&port, patience)?;
        let mut termios = rustix::termios::tcgetattr(&port)?;
        termios.make_raw();
        termios.set_speed(baud)?;
        rustix::termios::tcsetattr(&port, OptionalActions::Now, &termios)?;
        // What an earlier holder left half said.
        rustix::termios::tcflush(&port, QueueSelector::IOFlush)?;
        Ok(Self(port))
    }

    /// Writes all of `bytes` at once.
    ///
    /// # Errors
    /// `TimedOut` when the line does not take them, as nobody reads at the other end.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.0.write(bytes) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::TimedOut.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::ErrorKind::TimedOut.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes what has come, up to `buffer`'s length.
    ///
    /// # Errors
    /// When the line is gone.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            // The other end hung up.
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => Ok(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}
