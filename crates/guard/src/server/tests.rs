use rustix::net::{AddressFamily, SocketType, socketpair};
use rustix::process::{Gid, Uid, getegid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::*;

/// A line whose other end is somebody's who is not root: of a group, and where the test is
/// root's, of a second one besides.
fn line() -> (OwnedFd, u32, Option<u32>) {
    let thread = std::thread::spawn(|| {
        let mut second = None;
        if geteuid().is_root() {
            // Of this thread alone.
            let nobody = (Uid::from_raw(65534), Gid::from_raw(65534));
            set_thread_groups(&[Gid::from_raw(4242)]).unwrap();
            set_thread_res_gid(nobody.1, nobody.1, nobody.1).unwrap();
            set_thread_res_uid(nobody.0, nobody.0, nobody.0).unwrap();
            second = Some(4242);
        }
        let (ours, _) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        (ours, getegid().as_raw(), second)
    });
    thread.join().unwrap()
}

#[test]
fn who_is_in_an_allowed_group_may_speak() {
    let (line, first, second) = line();
    let groups = |groups: &[u32]| Allowed {
        users: Vec::new(),
        groups: groups.to_vec(),
    };
    assert!(!groups(&[]).permits(&line));
    assert!(!groups(&[4_000_000]).permits(&line));
    assert!(groups(&[4_000_000, first]).permits(&line));
    if let Some(second) = second {
        assert!(groups(&[second]).permits(&line));
    }
}
