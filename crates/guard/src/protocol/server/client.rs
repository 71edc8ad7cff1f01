//! A connection, and what its client holds.

use std::os::fd::OwnedFd;

use pilotage_vehicle::Time;

pub(super) struct Client {
    pub(super) connection: OwnedFd,
    /// Number of the last request.
    pub(super) number: u64,
    /// When the last request arrived.
    pub(super) active: Time,
    /// Whether this is the pilot's connection.
    pub(super) pilot: bool,
    /// When the last command of this pilot arrived.
    pub(super) commanded: Option<Time>,
    /// Whether another pilot has taken this one's place: the connection is closed.
    pub(super) replaced: bool,
    /// Whether this is the connection to the program that started this guard.
    pub(super) starter: bool,
    /// Whether this client holds a stop button down.
    pub(super) holds_stop: bool,
    pub(super) lease: Lease,
}

/// A client's lease: while it holds one, the car stays armed only as long as the lease is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lease {
    None,
    /// Last renewed at this time.
    Held(Time),
    /// Not renewed in time: this client arms nothing until it has a new one.
    Ended,
}

impl Lease {
    pub(super) const fn is_held(self) -> bool {
        matches!(self, Self::Held(_))
    }
}

impl Client {
    pub(super) const fn new(connection: OwnedFd, now: Time, starter: bool) -> Self {
        Self {
            connection,
            number: 0,
            active: now,
            pilot: false,
            commanded: None,
            replaced: false,
            starter,
            holds_stop: false,
            lease: Lease::None,
        }
    }

    /// Whether the connection may be closed when it is idle.
    pub(super) const fn expendable(&self) -> bool {
        !self.pilot && !self.starter && !self.holds_stop && !self.lease.is_held()
    }
}
