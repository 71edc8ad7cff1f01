//! When a new pilot takes the place of one that no longer drives.
//!
//! A pilot whose process hangs in the kernel cannot be ended, and keeps its connection. Without this
//! rule no pilot could drive until the computer is restarted.

use pilotage_vehicle::{Fault, Time};

use super::{Client, Server};
use crate::{Actuator, Refusal};

impl<A: Actuator> Server<A> {
    /// Whether the client at `new` may take the place of the pilot at `old`. All of this must hold:
    ///
    /// - Both are processes of one user.
    /// - The old pilot has sent a command, and its last one is older than the deadline, so that its
    ///   commands move the car no longer. A pilot that has sent none yet prepares its engine, and a
    ///   program that trims sends none.
    /// - It has not started this guard, which would end with it.
    pub(super) fn may_replace(&self, old: usize, new: usize, now: Time) -> bool {
        let (old, new) = (&self.clients[old], &self.clients[new]);
        let deadline = self.executor.limits().spec().deadline;
        let is_silent = old
            .commanded
            .is_some_and(|commanded| now.since(commanded) >= deadline);
        let same_user = user(old).is_some_and(|old| user(new) == Some(old));
        is_silent && !old.starter && same_user
    }

    /// Takes the pilot's rights from the client at `index`, and lets it know. The car is stopped if it
    /// was armed; an operator arms it for the new pilot. The connection is closed in this poll or the
    /// next.
    pub(super) fn replace(&mut self, index: usize, now: Time) {
        self.answer(index, 0, Some(Refusal::NotThePilot));
        let client = &mut self.clients[index];
        client.pilot = false;
        client.replaced = true;
        self.engine = None;
        self.executor.report(now, Fault::Pilot);
    }
}

/// The user of the client's process.
fn user(client: &Client) -> Option<u32> {
    let peer = rustix::net::sockopt::socket_peercred(&client.connection).ok()?;
    Some(peer.uid.as_raw())
}
