//! A pseudo-terminal in place of a serial port.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Links `port` to a new pseudo-terminal, and returns the device's end of it.
pub fn plug(port: &Path) -> File {
    let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&end).unwrap();
    unlockpt(&end).unwrap();
    let name = ptsname(&end, Vec::new()).unwrap();
    let _ = std::fs::remove_file(port);
    std::os::unix::fs::symlink(OsStr::from_bytes(name.as_bytes()), port).unwrap();
    end.into()
}
