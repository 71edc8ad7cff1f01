//! Telling systemd: ready, and still alive (sd_notify(3)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use pilotage_vehicle::Time;

/// The way to the service manager, where there is one.
#[derive(Debug)]
pub struct Manager {
    line: Option<(UnixDatagram, SocketAddr)>,
    /// Whether it watches, and kills who is silent.
    watches: bool,
    /// Half of what silence may last.
    period: Duration,
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
        let limit = std::env::var("WATCHDOG_USEC").ok();
        let limit: u64 = limit.and_then(|text| text.parse().ok()).unwrap_or(0);
        Self {
            line: line.filter(|_| !name.is_empty()),
            watches: limit > 0,
            period: Duration::ZERO,
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
        if self.watches {
            self.period = limit / 2;
            self.say(&format!("WATCHDOG_USEC={}", limit.as_micros()));
        }
    }

    /// To be called at each turn; says something only when it is due.
    pub fn alive(&mut self, now: Time) {
        if self.watches && now.since(self.reported) >= self.period {
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
