//! Who may connect to a guard.

use std::os::fd::OwnedFd;

use crate::protocol::peer_groups::{self, MOST_GROUPS};

/// Who may connect to a guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// These users, and root.
    pub users: Vec<u32>,
    /// The members of these groups.
    pub groups: Vec<u32>,
}

impl Allowed {
    /// The guard's own user, and root.
    pub fn own() -> Self {
        Self {
            users: vec![rustix::process::geteuid().as_raw()],
            groups: Vec::new(),
        }
    }

    /// Whether the peer of `connection` may connect, by its credentials from the kernel.
    pub(super) fn permits(&self, connection: &OwnedFd) -> bool {
        let Ok(peer) = rustix::net::sockopt::socket_peercred(connection) else {
            return false;
        };
        let (user, group) = (peer.uid.as_raw(), peer.gid.as_raw());
        if user == 0 || self.users.contains(&user) || self.groups.contains(&group) {
            return true;
        }
        let mut others = [0; MOST_GROUPS];
        let is_allowed = |group: &u32| self.groups.contains(group);
        !self.groups.is_empty()
            && peer_groups::of(connection, &peer, &mut others)
                .iter()
                .any(is_allowed)
    }
}
