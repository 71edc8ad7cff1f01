//! Serial ports without a terminal's line discipline.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, QueueSelector};

/// Opens a port that never blocks, to read and, if `writes`, to write. Nothing is set yet.
///
/// # Errors
/// The system's error; `ResourceBusy` if another process has the port for itself.
pub fn open(path: &Path, writes: bool) -> io::Result<File> {
    let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
    File::options()
        .read(true)
        .write(writes)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Excludes other processes from opening `port` (except root's), sets 8 data bits, no parity, one stop
/// bit and `baud` bits per second without any change of bytes, and discards what an earlier process left
/// in the buffers.
///
/// # Errors
/// The system's error, such as that of a file which is no port.
pub fn take(port: &File, baud: u32) -> io::Result<()> {
    rustix::termios::ioctl_tiocexcl(port)?;
    let mut termios = rustix::termios::tcgetattr(port)?;
    termios.make_raw();
    termios.set_speed(baud)?;
    rustix::termios::tcsetattr(port, OptionalActions::Now, &termios)?;
    Ok(rustix::termios::tcflush(port, QueueSelector::IOFlush)?)
}
