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
        (connection(), getegid().as_raw(), second)
    });
    thread.join().unwrap()
}

/// A connection whose peer is this thread's user.
fn connection() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
    pair.unwrap().0
}

#[test]
fn root_and_the_allowed_users_may_connect() {
    let users = |users: &[u32]| Allowed {
        users: users.to_vec(),
        groups: Vec::new(),
    };
    let own = geteuid().as_raw();
    assert_eq!(users(&[]).permits(&connection()), own == 0);
    assert!(users(&[4_000_000, own]).permits(&connection()));
    if own == 0 {
        let (other, ..) = connection_of_another_user();
        assert!(!users(&[own]).permits(&other));
        assert!(users(&[own, 65534]).permits(&other));
    }
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
