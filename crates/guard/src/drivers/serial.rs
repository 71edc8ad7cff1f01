//! A serial port in raw, non-blocking mode.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use pilotage_linux::serial;

use super::device_lock::{self, LockPolicy};

/// Bytes per read, and most reads in [`Port::receive_waiting`].
const READ_SIZE: usize = 1024;
const MAX_READS: usize = 8;

/// An open port. A second user is excluded by a lock, and by the kernel, which refuses to open the
/// port again (except for root).
#[derive(Debug)]
pub(crate) struct Port(File);

impl Port {
    /// Opens `path` with `baud` bits per second, and waits for another writer as `lock_policy` specifies.
    ///
    /// # Errors
    /// `WouldBlock` or `ResourceBusy` when another process holds it; otherwise the system's error.
    pub(crate) fn open(path: &Path, baud: u32, lock_policy: LockPolicy) -> io::Result<Self> {
        let port = lock_policy.wait(|| serial::open(path, true))?;
        device_lock::lock(&port, path, lock_policy)?;
        serial::take(&port, baud)?;
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

    /// Passes the bytes that have arrived to `take`, in pieces. All are read, so that noise does not
    /// delay an answer, but for endless noise, which must not delay a tick.
    ///
    /// # Errors
    /// When the port is gone.
    pub(crate) fn receive_waiting(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut bytes = [0; READ_SIZE];
        for _ in 0..MAX_READS {
            let length = self.receive(&mut bytes)?;
            if length == 0 {
                break;
            }
            take(&bytes[..length]);
        }
        Ok(())
    }

    /// Reads the bytes that have arrived, up to the length of `buffer`.
    ///
    /// # Errors
    /// When the port is gone.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            // The other end hung up.
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => Ok(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::io::Errno;

    use super::*;
    use crate::drivers::pty;

    /// A port, and its other end.
    fn port() -> (Port, File) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port");
        let end = pty::plug(&path);
        let port = Port::open(&path, 115_200, Duration::ZERO.into()).unwrap();
        (port, end)
    }

    #[test]
    fn bytes_pass_unchanged_and_no_bytes_are_no_error() {
        let (mut port, mut end) = port();
        let mut buffer = [0; 16];
        assert_eq!(port.receive(&mut buffer).unwrap(), 0);
        // With the line discipline of a terminal these would be changed.
        let bytes = b"\r\n\x03\x04\x11\x13\x7f";
        end.write_all(bytes).unwrap();
        assert_eq!(port.receive(&mut buffer).unwrap(), bytes.len());
        assert_eq!(buffer[..bytes.len()], *bytes);
        port.send(bytes).unwrap();
        let length = end.read(&mut buffer).unwrap();
        assert_eq!(buffer[..length], *bytes);
    }

    /// Endless noise, as far as the kernel's buffer holds it, is passed whole and in order, in at
    /// most [`MAX_READS`] pieces.
    #[test]
    fn all_waiting_bytes_are_passed_in_pieces() {
        let (mut port, mut end) = port();
        let noise: Vec<u8> = (0..3000).map(|index| (index % 251) as u8).collect();
        end.write_all(&noise).unwrap();
        let mut found = Vec::new();
        let mut pieces = 0;
        port.receive_waiting(|bytes| {
            assert!(!bytes.is_empty());
            pieces += 1;
            found.extend_from_slice(bytes);
        })
        .unwrap();
        assert!(
            found == noise && (3..=MAX_READS).contains(&pieces),
            "{pieces}"
        );
        port.receive_waiting(|_| panic!("nothing waits")).unwrap();
        drop(end);
        port.receive_waiting(|_| panic!("nothing waits"))
            .unwrap_err();
    }

    /// The other end does not read: the first write is cut short, the next is refused.
    #[test]
    fn a_port_that_accepts_too_little_is_late() {
        let (mut port, _end) = port();
        let bytes = vec![0; 1 << 20];
        for _ in 0..3 {
            let error = port.send(&bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert_eq!(error.raw_os_error(), None);
        }
    }

    #[test]
    fn a_port_that_is_gone_is_an_error() {
        let (mut port, end) = port();
        drop(end);
        let gone = Some(Errno::IO.raw_os_error());
        assert_eq!(port.send(b"x").unwrap_err().raw_os_error(), gone);
        let error = port.receive(&mut [0; 16]).unwrap_err();
        assert!(
            error.raw_os_error() == gone || error.kind() == io::ErrorKind::UnexpectedEof,
            "{error}"
        );
    }
}
