//! Notifies systemd that the guard is ready, and then that it is alive (sd_notify(3)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use pilotage_vehicle::Time;

/// The connection to the service manager, if there is one.
#[derive(Debug)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Half of the watchdog's limit; `None` if the watchdog is disabled.
    period: Option<Duration>,
    reported: Time,
}

impl Manager {
    /// Reads `NOTIFY_SOCKET` and `WATCHDOG_USEC`.
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        Self::new(&variable("NOTIFY_SOCKET"), &variable("WATCHDOG_USEC"))
    }

    fn new(name: &str, limit: &str) -> Self {
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(name),
        };
        // A manager whose queue is full must not delay a tick.
        let socket = UnixDatagram::unbound().ok();
        let socket = socket.filter(|socket| socket.set_nonblocking(true).is_ok());
        let socket = socket.zip(address.ok());
        let limit: Option<u64> = limit.parse().ok().filter(|&micros| micros > 0);
        Self {
            socket: socket.filter(|_| !name.is_empty()),
            period: limit.map(|micros| Duration::from_micros(micros / 2)),
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
        if self.period.is_some() {
            self.period = Some(limit / 2);
            self.send(&format!("WATCHDOG_USEC={}", limit.as_micros()));
        }
    }

    /// Reports that the guard is alive, when a report is due. Call it at each iteration.
    pub fn alive(&mut self, now: Time) {
        let Some(period) = self.period else { return };
        if now.since(self.reported) >= period {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages that `manager` has received so far.
    fn received(manager: &UnixDatagram) -> Vec<String> {
        let mut bytes = [0; 64];
        let messages =
            std::iter::from_fn(|| manager.recv(&mut bytes).ok().map(|it| bytes[..it].to_vec()));
        messages.map(|it| String::from_utf8(it).unwrap()).collect()
    }

    /// A manager's socket, and the connection to it with this `WATCHDOG_USEC`.
    fn connected(limit: &str) -> (tempfile::TempDir, UnixDatagram, Manager) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let manager = Manager::new(path.to_str().unwrap(), limit);
        (folder, socket, manager)
    }

    #[test]
    fn the_watchdog_is_served_at_half_its_limit() {
        let (_folder, socket, mut manager) = connected("1000000");
        let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
        for (millis, expected) in [(7000, true), (7499, false), (7500, true), (7999, false)] {
            manager.alive(at(millis));
            let reported = received(&socket) == ["WATCHDOG=1"];
            assert_eq!(reported, expected, "{millis}");
        }
        manager.watch_for(Duration::from_millis(400));
        assert_eq!(received(&socket), ["WATCHDOG_USEC=400000"]);
        for (millis, expected) in [(7699, false), (7700, true), (7899, false), (7900, true)] {
            manager.alive(at(millis));
            assert_eq!(!received(&socket).is_empty(), expected, "{millis}");
        }
    }

    #[test]
    fn a_disabled_watchdog_is_sent_nothing() {
        for limit in ["", "0", "-1", "soon"] {
            let (_folder, socket, mut manager) = connected(limit);
            manager.watch_for(Duration::from_millis(400));
            manager.alive(Time::from_nanos(1 << 40));
            assert!(received(&socket).is_empty(), "{limit}");
            manager.ready();
            assert_eq!(received(&socket), ["READY=1"]);
        }
    }
}
