//! Telling systemd: ready, and still alive (sd_notify(3)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use pilotage_vehicle::Time;

/// The way to the service manager, where there is one.
#[derive(Debug)]
pub struct Manager {
    line: Option<(UnixDatagram, SocketAddr)>,
    /// Half of WatchdogSec; none where the manager does not watch.
    period: Option<Duration>,
    reported: Time,
}

impl Manager {
    /// As the environment says.
    pub fn from_environment() -> Self {
        let name = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        // A manager whose queue is full must not hold a tick up.
        let socket = UnixDatagram::unbound().ok();
        let socket = socket.filter(|socket| socket.set_nonblocking(true).is_ok());
        let line = socket.zip(address.ok());
        let watched: Option<u64> = std::env::var("WATCHDOG_USEC")
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|&micros| micros > 0);
        Self {
            line: line.filter(|_| !name.is_empty()),
            period: watched.map(|micros| Duration::from_micros(micros / 2)),
            reported: Time::ZERO,
        }
    }

    /// The program does what it is for.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// From now on silence for `limit` is death, in place of what the unit says; where the
    /// manager does not watch, it still does not.
    pub fn watch_for(&mut self, limit: Duration) {
        if self.period.is_some() {
            self.period = Some(limit / 2);
            self.say(&format!("WATCHDOG_USEC={}", limit.as_micros()));
        }
    }

    /// To be called at each turn; says something only when it is due.
    pub fn alive(&mut self, now: Time) {
        let Some(period) = self.period else { return };
        if now.since(self.reported) >= period {
            self.reported = now;
            self.say("WATCHDOG=1");
        }
    }

    fn say(&self, what: &str) {
        if let Some((line, address)) = &self.line {
            // A manager that does not listen will find out by itself.
            let _ = line.send_to_addr(what.as_bytes(), address);
        }
    }
}
