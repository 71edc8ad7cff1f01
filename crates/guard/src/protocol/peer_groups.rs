//! The groups of the process at the other end of a connection.

use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use arrayvec::ArrayString;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read};
use rustix::net::UCred;

/// A process with more supplementary groups than this is authorized by its user and primary group
/// only.
pub(super) const MOST_GROUPS: usize = 64;
/// Bytes of /proc/PID/status that contain the line of [`MOST_GROUPS`] groups.
const STATUS: usize = 4096;

/// The supplementary groups of `peer`, the process at the other end of `connection`; none if they
/// are not known.
pub(super) fn of<'a>(
    connection: &OwnedFd,
    peer: &UCred,
    groups: &'a mut [u32; MOST_GROUPS],
) -> &'a [u32] {
    let asked = pilotage_linux::peer_groups(connection.as_fd(), groups).map(<[u32]>::len);
    let count = match asked {
        // Kernels before 4.13 (JetPack 4) do not have SO_PEERGROUPS.
        Err(error) if error.raw_os_error() == Some(Errno::NOPROTOOPT.raw_os_error()) => {
            from_proc(peer, groups)
        }
        known => known,
    };
    match count {
        Ok(count) => &groups[..count.min(MOST_GROUPS)],
        Err(_) => &[],
    }
}

/// Reads the groups of `peer` from /proc, and returns their number.
///
/// The number of a process that has ended may belong to another process now. The groups only count
/// if that process runs as the same user with the same primary group: the user could have connected
/// with these groups anyway. One read gives the lines of one process, because the kernel keeps the
/// process that an open file of /proc describes.
fn from_proc(peer: &UCred, groups: &mut [u32; MOST_GROUPS]) -> io::Result<usize> {
    let mut path = ArrayString::<32>::new();
    let pid = peer.pid.as_raw_nonzero();
    write!(path, "/proc/{pid}/status").map_err(|_| io::ErrorKind::InvalidInput)?;
    let file = open(
        path.as_str(),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut bytes = [0; STATUS];
    let length = read(&file, &mut bytes)?;
    let identity = (peer.uid.as_raw(), peer.gid.as_raw());
    let count = in_status(&bytes[..length], identity, groups);
    count.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The number of the groups in the text of /proc/PID/status (proc_pid_status(5)), if its effective
/// user and group are `identity`, and its line of groups is complete and fits.
fn in_status(
    status: &[u8],
    identity: (u32, u32),
    groups: &mut [u32; MOST_GROUPS],
) -> Option<usize> {
    let line = |key: &[u8]| {
        let mut lines = status.split_inclusive(|byte| *byte == b'\n');
        let line = lines.find_map(|line| line.strip_prefix(key))?;
        // A line without its end was cut off.
        std::str::from_utf8(line.strip_suffix(b"\n")?).ok()
    };
    // Real, effective, saved, file system.
    let effective = |key| line(key)?.split_ascii_whitespace().nth(1)?.parse().ok();
    if (effective(b"Uid:")?, effective(b"Gid:")?) != identity {
        return None;
    }
    let mut count = 0;
    for group in line(b"Groups:")?.split_ascii_whitespace() {
        *groups.get_mut(count)? = group.parse().ok()?;
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::socket_peercred;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use rustix::process::{Gid, Uid};

    use super::*;

    /// As printed by the kernel 4.9 of JetPack 4, shortened.
    const STATUS: &[u8] = b"Name:\tpilotage\nUmask:\t0002\nState:\tS (sleeping)\nPid:\t6120\n\
        Uid:\t0\t1000\t1000\t1000\nGid:\t0\t1001\t1001\t1001\nFDSize:\t256\n\
        Groups:\t27 44 999 \nNStgid:\t6120\n";

    #[test]
    fn the_groups_of_a_status_count_for_its_own_user_alone() {
        let mut groups = [0; MOST_GROUPS];
        assert_eq!(in_status(STATUS, (1000, 1001), &mut groups), Some(3));
        assert_eq!(groups[..3], [27, 44, 999]);
        for other in [(0, 1001), (1000, 0), (1001, 1000), (0, 0)] {
            assert_eq!(in_status(STATUS, other, &mut groups), None, "{other:?}");
        }
        let none = b"Uid:\t1 2 1 1\nGid:\t1 3 1 1\nGroups:\t\n";
        assert_eq!(in_status(none, (2, 3), &mut groups), Some(0));
    }

    #[test]
    fn a_damaged_status_has_no_groups() {
        let mut groups = [0; MOST_GROUPS];
        // Cut off within the line of the groups: the last number may be incomplete.
        for length in 0..STATUS.len() {
            let count = in_status(&STATUS[..length], (1000, 1001), &mut groups);
            let whole = STATUS[..length].windows(8).any(|part| part == b"44 999 \n");
            assert_eq!(count, whole.then_some(3), "{length} bytes");
        }
        let many = "7 ".repeat(MOST_GROUPS + 1);
        let many = format!("Uid:\t1 2\nGid:\t1 3\nGroups:\t{many}\n");
        assert_eq!(in_status(many.as_bytes(), (2, 3), &mut groups), None);
        for bad in ["-1", "4294967296", "video", "\u{fffd}"] {
            let text = format!("Uid:\t1 2\nGid:\t1 3\nGroups:\t{bad}\n");
            assert_eq!(
                in_status(text.as_bytes(), (2, 3), &mut groups),
                None,
                "{bad}"
            );
        }
    }

    fn connection() -> OwnedFd {
        let flags = SocketFlags::CLOEXEC;
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        pair.unwrap().0
    }

    /// The peer is this process, and this kernel has both ways to ask.
    #[test]
    fn proc_answers_as_the_kernel_does() {
        let connection = connection();
        let peer = socket_peercred(&connection).unwrap();
        let (mut asked, mut read) = ([0; MOST_GROUPS], [0; MOST_GROUPS]);
        let asked = pilotage_linux::peer_groups(connection.as_fd(), &mut asked).unwrap();
        let count = from_proc(&peer, &mut read).unwrap();
        let sorted = |groups: &[u32]| {
            let mut groups = groups.to_vec();
            groups.sort_unstable();
            groups
        };
        assert_eq!(sorted(&read[..count]), sorted(asked));
    }

    #[test]
    fn another_users_process_has_no_groups() {
        let peer = socket_peercred(connection()).unwrap();
        let mut groups = [0; MOST_GROUPS];
        for (user, group) in [(1, 0), (0, 1)] {
            let other = UCred {
                pid: peer.pid,
                uid: Uid::from_raw(peer.uid.as_raw().wrapping_add(user)),
                gid: Gid::from_raw(peer.gid.as_raw().wrapping_add(group)),
            };
            assert!(from_proc(&other, &mut groups).is_err());
        }
    }
}
