//! The user whose rights a process gets that builds a plan for root.

use std::io;

use pilotage_guard::{group_id, user_id};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Users without rights of their own, the first that exists.
const USERS: [&str; 2] = ["pilotage", "nobody"];
/// The group `nogroup` or `nobody`: not the group `pilotage`, whose members may arm a car.
const GROUPS: [&str; 2] = ["nogroup", "nobody"];
/// The groups that may use a GPU. Those that exist.
const DEVICES: [&str; 2] = ["video", "render"];
/// The user and the group that the kernel shows for unknown ones (user_namespaces(7)).
const NOBODY: u32 = 65_534;

/// A user's rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    id: u32,
    group: u32,
    more_groups: Vec<u32>,
}

impl User {
    /// The user who builds plans for root.
    pub(super) fn of_builds() -> Self {
        Self::choose(|name| user_id(name).ok(), |name| group_id(name).ok())
    }

    fn choose(user: impl Fn(&str) -> Option<u32>, group: impl Fn(&str) -> Option<u32>) -> Self {
        let other_than_root = |id: &u32| *id != 0;
        let user = USERS.into_iter().filter_map(user).find(other_than_root);
        let first = GROUPS.into_iter().filter_map(&group).find(other_than_root);
        let devices = DEVICES.into_iter().filter_map(&group);
        Self {
            id: user.unwrap_or(NOBODY),
            group: first.unwrap_or(NOBODY),
            more_groups: devices.filter(other_than_root).collect(),
        }
    }

    /// Gives this thread, and the processes that it starts, the rights of this user permanently. The other
    /// threads of this process keep theirs: these are the kernel's own calls, not libc's.
    ///
    /// # Errors
    /// When this process may not do so, as in a container that has one user only.
    pub(super) fn assume(&self) -> io::Result<()> {
        let groups: Vec<Gid> = self
            .more_groups
            .iter()
            .map(|&id| Gid::from_raw(id))
            .collect();
        let (user, group) = (Uid::from_raw(self.id), Gid::from_raw(self.group));
        // In this order: without root's user the groups cannot be set.
        set_thread_groups(&groups)
            .and_then(|()| set_thread_res_gid(group, group, group))
            .and_then(|()| set_thread_res_uid(user, user, user))
            .map_err(|error| {
                let id = self.id;
                io::Error::other(format!(
                    "it cannot run as user {id} instead of root ({error})"
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &'static [(&str, u32)]) -> impl Fn(&str) -> Option<u32> {
        move |name| {
            names
                .iter()
                .find(|known| known.0 == name)
                .map(|known| known.1)
        }
    }

    #[test]
    fn plans_are_built_by_the_pilots_user_without_its_group() {
        let user = User::choose(
            of(&[("root", 0), ("nobody", 65_534), ("pilotage", 997)]),
            of(&[
                ("pilotage", 997),
                ("nogroup", 65_534),
                ("render", 105),
                ("video", 44),
            ]),
        );
        let expected = (997, 65_534, vec![44, 105]);
        assert_eq!((user.id, user.group, user.more_groups), expected);
    }

    #[test]
    fn without_that_user_nobody_builds_and_never_root() {
        let expected = User {
            id: 65_534,
            group: 65_534,
            more_groups: Vec::new(),
        };
        assert_eq!(User::choose(of(&[]), of(&[])), expected);
        let root = User::choose(
            of(&[("pilotage", 0), ("nobody", 65_534)]),
            of(&[("nogroup", 0), ("nobody", 65_534), ("video", 0)]),
        );
        assert_eq!(root, expected);
    }
}
