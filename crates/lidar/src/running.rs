//! A running lidar: a thread reads the port, since a read waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pilotage_console::FaultReports;
use pilotage_vehicle::{Rays, Scan, Time};

use crate::port::Port;
use crate::turn::Assembly;
use crate::{LidarConfig, LidarError};

/// How long the first whole turn may take: the head starts to turn with the supply.
const FIRST: Duration = Duration::from_secs(5);
/// How long a read waits, after which the thread looks whether it has to end.
const WAIT: Duration = Duration::from_millis(100);
/// Without a whole turn for so long there is a fault; the slowest head turns in 200 ms.
const OVERDUE: Duration = Duration::from_millis(500);
/// How often a port that is gone is opened again.
const REOPEN: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Latest {
    scan: Scan,
    /// When it was complete; `None` if there is none.
    at: Option<Time>,
}

#[derive(Debug)]
struct Shared {
    latest: Mutex<Latest>,
    ends: AtomicBool,
}

#[derive(Debug)]
struct Thread(Arc<Shared>);

impl Drop for Thread {
    fn drop(&mut self) {
        // Not joined: a port may hang with its bus.
        self.0.ends.store(true, Ordering::Relaxed);
    }
}

/// A running lidar. Clones share its thread, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct Lidar {
    thread: Arc<Thread>,
    rays: Rays,
    description: String,
    scan: Scan,
    at: Option<Time>,
}

impl Lidar {
    /// Opens the lidar of `config`, waits for its first whole turn, and reads it from then on. Faults,
    /// and their ends, are reported to `say`; there is no scan meanwhile, and a port that is gone is
    /// opened again.
    ///
    /// # Errors
    /// If the port cannot be opened, or no whole turn comes within 5 seconds.
    pub fn start(config: &LidarConfig, say: fn(&str)) -> Result<Self, LidarError> {
        let mut assembly = Assembly::new(config);
        let mut port = Port::open(config)?;
        let shared = Arc::new(Shared {
            latest: Mutex::new(Latest {
                scan: Scan::default(),
                at: None,
            }),
            ends: AtomicBool::new(false),
        });
        let began = Instant::now();
        let mut is_whole = false;
        while !is_whole {
            if began.elapsed() > FIRST {
                return Err(port.without_scan(&config.port));
            }
            let read = port.read(&mut assembly, WAIT, |assembly, at| {
                is_whole = true;
                shared.set(assembly, at);
            });
            read.map_err(|reason| gone(config, reason))?;
        }
        let reading = Reading {
            config: config.clone(),
            port: Some(port),
            assembly,
            whole: Instant::now(),
            faults: FaultReports::default(),
            say,
        };
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("lidar".to_owned())
            .spawn(move || reading.until_the_end(&theirs))
            .map_err(LidarError::Thread)?;
        Ok(Self {
            thread: Arc::new(Thread(shared)),
            rays: config.directions(),
            description: format!("lidar at {}, {} rays", config.port.display(), config.rays),
            scan: Scan::default(),
            at: None,
        })
    }

    /// The directions of its rays.
    pub const fn rays(&self) -> Rays {
        self.rays
    }

    /// What it is, in words.
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// Writes the latest scan to `scan`, which has memory for the largest, and returns when it was
    /// complete. `None`: there is none, and `scan` is not whole. Neither waits nor allocates.
    pub fn latest(&mut self, scan: &mut Scan) -> Option<Time> {
        // While the thread writes, the scan before is as good.
        if let Ok(latest) = self.thread.0.latest.try_lock()
            && latest.at != self.at
        {
            self.at = latest.at;
            self.scan.copy_from(&latest.scan);
        }
        match self.at {
            Some(_) => scan.copy_from(&self.scan),
            None => scan.clear(),
        }
        self.at
    }
}

impl Shared {
    fn set(&self, assembly: &Assembly, at: Time) {
        // Only a panic while it is held poisons it, and nothing panics there.
        if let Ok(mut latest) = self.latest.lock() {
            latest.scan.copy_from(assembly.scan());
            latest.at = Some(at);
        }
    }

    fn clear(&self) {
        if let Ok(mut latest) = self.latest.lock() {
            latest.at = None;
        }
    }
}

fn gone(config: &LidarConfig, reason: std::io::Error) -> LidarError {
    let path = config.port.clone();
    LidarError::Gone { path, reason }
}

/// What the thread has.
struct Reading {
    config: LidarConfig,
    /// `None` while it is gone.
    port: Option<Port>,
    assembly: Assembly,
    /// The time of the latest whole turn.
    whole: Instant,
    faults: FaultReports,
    say: fn(&str),
}

impl Reading {
    /// Reads until the last handle is gone.
    fn until_the_end(mut self, shared: &Shared) {
        while !shared.ends.load(Ordering::Relaxed) {
            if let Err(error) = self.read(shared) {
                shared.clear();
                self.port = None;
                let text = format!("the lidar gives no scans: {error}");
                self.faults.wrong(&text, Instant::now(), self.say);
                std::thread::sleep(REOPEN);
            }
        }
    }

    fn read(&mut self, shared: &Shared) -> Result<(), LidarError> {
        let port = match &mut self.port {
            Some(port) => port,
            gone => {
                let port = Port::open(&self.config)?;
                self.assembly.reset();
                self.whole = Instant::now();
                gone.insert(port)
            }
        };
        let mut is_whole = false;
        let read = port.read(&mut self.assembly, WAIT, |assembly, at| {
            is_whole = true;
            shared.set(assembly, at);
        });
        read.map_err(|reason| gone(&self.config, reason))?;
        let now = Instant::now();
        if is_whole {
            self.whole = now;
            self.faults
                .well("the lidar gives scans again", now, self.say);
        } else if now - self.whole > OVERDUE {
            let error = port.without_scan(&self.config.port);
            let text = format!("the lidar gives no scans: {error}");
            self.faults.wrong(&text, now, self.say);
        }
        Ok(())
    }
}
