//! Notifies systemd that the guard is ready, and then that it is alive (sd_notify(3)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use pilotage_vehicle::Time;

/// The connection to the service manager, if there is one.
#[derive(Debug)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Whether the manager's watchdog is enabled.
    watches: bool,
    /// Half of the watchdog's limit.
    period: Duration,
    reported: Time,
}

impl Manager {
    /// Reads `NOTIFY_SOCKET` and `WATCHDOG_USEC`.
    pub fn from_environment() -> Self {
        let name = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        // A manager whose queue is full must not delay a tick.
        let socket = UnixDatagram::unbound().ok();
        let socket = socket.filter(|socket| socket.set_nonblocking(true).is_ok());
        let socket = socket.zip(address.ok());
        let limit = std::env::var("WATCHDOG_USEC").ok();
        let limit: u64 = limit.and_then(|text| text.parse().ok()).unwrap_or(0);
        Self {
            socket: socket.filter(|_| !name.is_empty()),
            watches: limit > 0,
            period: Duration::ZERO,
            reported: Time::ZERO,
        }
    }

    /// Reports that the guard is ready.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// Sets the watchdog's limit to `limit`, in place of the unit's. Does nothing if the watchdog
    /// is disabled.
    pub fn watch_for(&mut self, limit: Duration) {
        if self.watches {
            self.period = limit / 2;
            self.send(&format!("WATCHDOG_USEC={}", limit.as_micros()));
        }
    }

    /// Reports that the guard is alive, when a report is due. Call it at each iteration.
    pub fn alive(&mut self, now: Time) {
        if self.watches && now.since(self.reported) >= self.period {
            self.reported = now;
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, what: &str) {
        if let Some((socket, address)) = &self.socket {
            // A failed send is ignored: the manager's watchdog detects missing reports.
            let _ = socket.send_to_addr(what.as_bytes(), address);
        }
    }
}
