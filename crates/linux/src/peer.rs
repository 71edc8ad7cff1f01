//! The process at the other end of a Unix socket.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The supplementary groups of the peer of a Unix socket. `SO_PEERCRED` reports the primary group.
///
/// # Errors
/// When there are more of them than `groups` holds, or the kernel does not support it (before
/// 4.13).
pub fn peer_groups<'a>(connection: BorrowedFd<'_>, groups: &'a mut [u32]) -> io::Result<&'a [u32]> {
    let mut length = size_of_val(groups) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `groups`, whose elements are plain
    // integers (gid_t is u32 on Linux), and stores the written size in `length`. Both are valid
    // during the call.
    let result = unsafe {
        libc::getsockopt(
            connection.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match result {
        0 => Ok(&groups[..(length as usize / size_of::<u32>()).min(groups.len())]),
        _ => Err(io::Error::last_os_error()),
    }
}
