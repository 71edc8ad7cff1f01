//! The thread that reads the tap. It waits for no page.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;
use pilotage_drivelog::jpeg;
use pilotage_tap::{FrameRecord, NumberedScan, ObserveError, Observer, Picture};

use crate::Live;
use crate::telemetry::{Batch, ScanMessage, Status};

/// The time from batch to batch.
const INTERVAL: Duration = Duration::from_millis(40);
/// The time from one attempt to find a pilot to the next.
const RETRY: Duration = Duration::from_secs(1);
/// How often pictures are requested, which holds for two seconds.
const REQUEST: Duration = Duration::from_millis(500);
/// The greatest width of a picture on the page; a wider one is thinned.
const WIDEST: u32 = 640;
/// The JPEG quality of the pictures.
const QUALITY: u8 = 70;
/// Most frames of a batch; there are more only in a simulated drive at `--pace fast`.
const MOST_FRAMES: usize = 64;

/// Where the pilot is.
#[derive(Debug)]
pub enum PilotAt {
    /// The pilot that started this program, at the other end of this connection.
    Connection(OwnedFd),
    /// The pilots that serve this socket, one after the other.
    Path(PathBuf),
}

/// What the end of the sampler's pilot means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// The sampler was dropped.
    Stopped,
    /// The pilot that started this program has ended.
    PilotEnded,
}

/// Reads a pilot's tap into [`Live`], until it is dropped.
#[derive(Debug)]
pub struct Sampler {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts to read; `pictures` a second at most. `ended` is called when there is nothing more to
    /// read.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        pilot: PilotAt,
        live: Arc<Live>,
        pictures: u32,
        ended: impl FnOnce(Ends) + Send + 'static,
    ) -> io::Result<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let mut sampling = Sampling {
            live,
            pictures,
            end: Arc::clone(&end),
        };
        let thread = std::thread::Builder::new().name("sampler".to_owned());
        let thread = thread.spawn(move || ended(sampling.run(pilot)))?;
        Ok(Self {
            end,
            thread: Some(thread),
        })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Sampling {
    live: Arc<Live>,
    pictures: u32,
    end: Arc<AtomicBool>,
}

impl Sampling {
    fn run(&mut self, pilot: PilotAt) -> Ends {
        match pilot {
            PilotAt::Connection(connection) => {
                let ended = self.observe(Observer::over(connection));
                if let Err(error) = &ended {
                    log::error!("{error}");
                }
                match self.end.load(Ordering::Acquire) {
                    true => Ends::Stopped,
                    false => Ends::PilotEnded,
                }
            }
            PilotAt::Path(path) => {
                while !self.end.load(Ordering::Acquire) {
                    // The page shows the error.
                    let _ = self.observe(Observer::connect(&path));
                    self.sleep(RETRY);
                }
                Ends::Stopped
            }
        }
    }

    /// Reads until the pilot ends.
    fn observe(&mut self, observer: Result<Observer, ObserveError>) -> Result<(), ObserveError> {
        let observed = observer.and_then(|observer| self.read(observer));
        self.live.set_stopper(None);
        let ended = match &observed {
            Ok(()) | Err(ObserveError::Ended) => Status::Ended.json(),
            Err(ObserveError::Unreachable { .. }) => Status::Waiting.json(),
            Err(error) => Status::Failed {
                reason: &error.to_string(),
            }
            .json(),
        };
        // An ended drive stays on the page while no other begins.
        self.live.status.send_if_modified(|status| {
            let waiting = ended == Status::Waiting.json();
            let changed = *status != ended && !(waiting && *status == Status::Ended.json());
            if changed {
                *status = ended;
            }
            changed
        });
        observed
    }

    fn read(&mut self, mut observer: Observer) -> Result<(), ObserveError> {
        let simulated = observer.drive().simulated;
        let stopper = simulated.then(|| observer.stopper()).transpose()?;
        self.live.set_stopper(stopper);
        let drive = Status::of(observer.drive()).json();
        self.live.status.send_replace(drive);
        // That of the drive before.
        self.live.scan.send_replace(Utf8Bytes::default());
        let mut records: Vec<FrameRecord> = Vec::new();
        let mut picture = Picture::default();
        let mut scan = NumberedScan::default();
        let mut requested: Option<Instant> = None;
        while !self.end.load(Ordering::Acquire) {
            self.request_pictures(&observer, &mut requested)?;
            records.clear();
            while let Some(record) = observer.next_record() {
                records.push(record);
                // A writer that is faster than this loop must not keep it here.
                if records.len() >= 4096 {
                    break;
                }
            }
            let skipped = records.len().saturating_sub(MOST_FRAMES);
            let newest = records.get(skipped..).unwrap_or_default();
            if let Some(batch) = Batch::json(observer.lost(), skipped as u64, newest) {
                // Without a session it is not received.
                let _ = self.live.frames.send(batch);
            }
            if self.live.viewers() > 0 && observer.picture(&mut picture) {
                match jpeg(&picture, WIDEST, QUALITY) {
                    Ok(bytes) => drop(self.live.picture.send_replace(bytes.into())),
                    Err(error) => log::warn!("a picture cannot be encoded: {error}"),
                }
            }
            if newest_scan(&mut observer, &mut scan) && self.live.viewers() > 0 {
                self.live.scan.send_replace(ScanMessage::json(&scan));
            }
            if observer.has_ended() {
                return Ok(());
            }
            std::thread::sleep(INTERVAL);
        }
        Ok(())
    }

    /// Asks for pictures while a page is open.
    fn request_pictures(
        &self,
        observer: &Observer,
        requested: &mut Option<Instant>,
    ) -> Result<(), ObserveError> {
        let wanted = self.live.viewers() > 0;
        match requested {
            None if wanted => {}
            Some(at) if !wanted || at.elapsed() >= REQUEST => {}
            _ => return Ok(()),
        }
        *requested = wanted.then(Instant::now);
        let rate = if wanted { self.pictures } else { 0 };
        match observer.want_pictures(rate) {
            // The end is noticed after the last records are read.
            Err(ObserveError::Ended | ObserveError::Silent) => Ok(()),
            result => result,
        }
    }

    fn sleep(&self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time && !self.end.load(Ordering::Acquire) {
            std::thread::sleep(INTERVAL);
        }
    }
}

/// Reads the scans so far. Returns whether there was one; the newest is left in `scan`.
fn newest_scan(observer: &mut Observer, scan: &mut NumberedScan) -> bool {
    let mut newest = NumberedScan::default();
    let mut found = false;
    // Bounded, whatever the pilot writes.
    for _ in 0..256 {
        if !observer.next_scan(&mut newest) {
            break;
        }
        std::mem::swap(scan, &mut newest);
        found = true;
    }
    found
}
