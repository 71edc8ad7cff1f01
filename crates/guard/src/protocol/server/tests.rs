use rustix::net::{AddressFamily, SocketType, socketpair};
use rustix::process::{Gid, Uid, getegid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::*;

/// A connection whose peer is not root. Also returns the peer's primary group and, if the test runs
/// as root, a supplementary group of the peer.
fn connection_of_another_user() -> (OwnedFd, u32, Option<u32>) {
    let thread = std::thread::spawn(|| {
        let mut second = None;
        if geteuid().is_root() {
            // These calls change only this thread.
            let unprivileged = (Uid::from_raw(65534), Gid::from_raw(65534));
            set_thread_groups(&[Gid::from_raw(4242)]).unwrap();
            set_thread_res_gid(unprivileged.1, unprivileged.1, unprivileged.1).unwrap();
            set_thread_res_uid(unprivileged.0, unprivileged.0, unprivileged.0).unwrap();
            second = Some(4242);
        }
        let (connection, _) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        (connection, getegid().as_raw(), second)
    });
    thread.join().unwrap()
}

#[test]
fn a_member_of_an_allowed_group_may_connect() {
    let (connection, first, second) = connection_of_another_user();
    let groups = |groups: &[u32]| Allowed {
        users: Vec::new(),
        groups: groups.to_vec(),
    };
    assert!(!groups(&[]).permits(&connection));
    assert!(!groups(&[4_000_000]).permits(&connection));
    assert!(groups(&[4_000_000, first]).permits(&connection));
    if let Some(second) = second {
        assert!(groups(&[second]).permits(&connection));
    }
}
