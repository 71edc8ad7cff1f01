//! A serial port in raw, non-blocking mode.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, QueueSelector};

use super::bus_lock::{self, Hold};

/// An open port. A second user is excluded by a lock, and by the kernel, which refuses to open the
/// port again (except for root).
#[derive(Debug)]
pub(crate) struct Port(File);

impl Port {
    /// Opens `path` with `baud` bits per second, and waits for another writer as `hold` specifies.
    ///
    /// # Errors
    /// `WouldBlock` or `ResourceBusy` when another process holds it; otherwise the system's error.
    pub(crate) fn open(path: &Path, baud: u32, hold: Hold) -> io::Result<Self> {
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        let port = hold.wait(|| {
            File::options()
                .read(true)
                .write(true)
                .custom_flags(flags.bits() as i32)
                .open(path)
        })?;
        bus_lock::lock(&port, path, hold)?;
        rustix::termios::ioctl_tiocexcl(&port)?;
        let mut termios = rustix::termios::tcgetattr(&port)?;
        termios.make_raw();
        termios.set_speed(baud)?;
        rustix::termios::tcsetattr(&port, OptionalActions::Now, &termios)?;
        // Discard what an earlier process left in the buffers.
        rustix::termios::tcflush(&port, QueueSelector::IOFlush)?;
        Ok(Self(port))
    }

    /// Writes all of `bytes` in one call.
    ///
    /// # Errors
    /// `TimedOut` when the port does not accept all of them, because the other end does not read.
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

    /// Reads the bytes that have arrived, up to the length of `buffer`.
    ///
    /// # Errors
    /// When the port is gone.
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
