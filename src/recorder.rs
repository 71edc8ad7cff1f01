//! Frames of a drive by hand and what the hand did, in a folder that training, calibration
//! and the `folder` camera read.
//!
//! Two threads beside the loop that drives: one waits for frames and copies each to one of
//! a fixed number of buffers, the other encodes and writes. With no buffer free a frame is
//! dropped and counted: a slow disk costs frames, never memory, and never a command.

mod folder;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pilotage_console::FaultReports;
use pilotage_vehicle::Mixer;
use pilotage_vision::{Frame, VisionError};
use serde::Serialize;

use crate::camera::{BoxedCamera, CameraError};

pub use folder::{Encoding, Folder, FolderError};

/// Frames under way to the disk: 15 MB of 640x480 RGB.
const BUFFERS: usize = 16;
/// After a write that failed the disk is left alone for this long.
const PAUSE: Duration = Duration::from_secs(1);
/// A camera that is away answers at once; it is asked again after this.
const AWAY: Duration = Duration::from_millis(20);

/// What the hand does, for whoever takes the frames.
#[derive(Debug)]
pub struct Steered {
    /// Steering and throttle side by side, so that one never belongs to another moment.
    both: AtomicU64,
    always: bool,
}

/// Two NaNs: nobody drives.
const NOBODY: u64 = u64::MAX;

impl Steered {
    /// Nobody drives yet; `always` keeps the frames of then, too, with the car at rest.
    pub fn new(always: bool) -> Self {
        let both = AtomicU64::new(NOBODY);
        Self { both, always }
    }

    /// What goes out from now on; nothing where not `driven`.
    pub fn set(&self, driven: bool, steering: f32, throttle: f32) {
        let both = match (driven, self.always) {
            (true, _) => pack(steering, throttle),
            (false, true) => pack(0.0, 0.0),
            (false, false) => NOBODY,
        };
        self.both.store(both, Ordering::Release);
    }

    fn get(&self) -> Option<(f32, f32)> {
        let both = self.both.load(Ordering::Acquire);
        let half = |shift: u32| f32::from_bits((both >> shift) as u32);
        (both != NOBODY).then(|| (half(32), half(0)))
    }
}

fn pack(steering: f32, throttle: f32) -> u64 {
    u64::from(steering.to_bits()) << 32 | u64::from(throttle.to_bits())
}

/// What became of the frames that were to be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RecordingCounts {
    /// In the folder, each with its row.
    pub written: u64,
    /// The disk was too slow for them.
    pub dropped: u64,
    /// The disk did not take them.
    pub failed: u64,
}

/// What a recording came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordingReport {
    /// Where it is.
    pub folder: PathBuf,
    /// What became of the frames.
    #[serde(flatten)]
    pub counts: RecordingCounts,
}

/// Why nothing is recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The folder is none to record to.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The camera's frames are of no size that can be kept.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// There is no thread for it.
    #[error("the system has no thread to record with: {0}")]
    Thread(std::io::Error),
}

#[derive(Debug, Default)]
struct Shared {
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    /// The camera has no more pictures.
    ended: AtomicBool,
    end: AtomicBool,
}

/// A frame under way to the disk.
struct Slot {
    frame: Frame,
    steering: f32,
    throttle: f32,
}

/// Takes a camera's frames, and keeps them while somebody drives.
#[derive(Debug)]
pub struct FrameTaker {
    shared: Arc<Shared>,
    folder: PathBuf,
    camera: Option<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
}

impl FrameTaker {
    /// Keeps the frames of `camera` in `folder`, each with what is in `steered` when it
    /// comes. What goes wrong, and right again, is told to `say`, and the drive goes on.
    ///
    /// # Errors
    /// When a part of it cannot be had; nothing is written then.
    pub fn start(
        camera: BoxedCamera,
        folder: Folder,
        mixer: Mixer,
        steered: Arc<Steered>,
        say: fn(&str),
    ) -> Result<Self, RecorderError> {
        let (format, width, height) = camera.format();
        let shared = Arc::new(Shared::default());
        let path = folder.path().to_owned();
        let (giving, free) = sync_channel(BUFFERS);
        let (full, taking) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            let slot = Slot {
                frame: Frame::new(format, width, height)?,
                steering: 0.0,
                throttle: 0.0,
            };
            // There is room for each.
            let _ = giving.try_send(slot);
        }
        let frame = Frame::new(format, width, height)?;
        let folder = folder.of(format, width, height, mixer)?;
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let writer = {
            let shared = Arc::clone(&shared);
            let work = move || write(folder, &taking, &giving, &shared, say);
            named("recorder")
                .spawn(work)
                .map_err(RecorderError::Thread)?
        };
        let camera = {
            let shared = Arc::clone(&shared);
            let work = move || take(camera, frame, &steered, &free, &full, &shared, say);
            named("camera").spawn(work).map_err(RecorderError::Thread)?
        };
        Ok(Self {
            shared,
            folder: path,
            camera: Some(camera),
            writer: Some(writer),
        })
    }

    /// What became of the frames so far.
    pub fn counters(&self) -> RecordingCounts {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RecordingCounts {
            written: count(&self.shared.written),
            dropped: count(&self.shared.dropped),
            failed: count(&self.shared.failed),
        }
    }

    /// Whether the camera has no more pictures.
    pub fn ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// Writes what is under way, and says what it came to.
    pub fn finish(mut self) -> RecordingReport {
        self.join();
        RecordingReport {
            folder: self.folder.clone(),
            counts: self.counters(),
        }
    }

    fn join(&mut self) {
        self.shared.end.store(true, Ordering::Release);
        // The camera's thread holds the way to the writer's, which ends behind it.
        for thread in [self.camera.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for FrameTaker {
    fn drop(&mut self) {
        self.join();
    }
}

/// Takes frames until the end.
fn take(
    mut camera: BoxedCamera,
    mut frame: Frame,
    steered: &Steered,
    free: &Receiver<Slot>,
    full: &SyncSender<Slot>,
    shared: &Shared,
    say: fn(&str),
) {
    let mut faults = FaultReports::default();
    while !shared.end.load(Ordering::Acquire) {
        match camera.next(&mut frame) {
            Ok(()) => {
                let back = "the camera is back; the recording goes on";
                faults.well(back, Instant::now(), say);
            }
            Err(CameraError::Ended { .. }) => {
                shared.ended.store(true, Ordering::Release);
                return;
            }
            Err(error) => {
                let text = format!("{error}; nothing is recorded, driving goes on");
                faults.wrong(&text, Instant::now(), say);
                std::thread::sleep(AWAY);
                continue;
            }
        }
        let Some((steering, throttle)) = steered.get() else {
            continue;
        };
        let Ok(mut slot) = free.try_recv() else {
            if shared.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                say("the disk is too slow: frames are dropped, and counted");
            }
            continue;
        };
        (slot.steering, slot.throttle) = (steering, throttle);
        // It is of the camera's own format.
        if slot.frame.copy_from(frame.view()).is_ok() {
            let _ = full.try_send(slot);
        }
    }
}

/// Writes frames until nobody takes any more.
fn write(
    mut folder: folder::Writer,
    taking: &Receiver<Slot>,
    giving: &SyncSender<Slot>,
    shared: &Shared,
    say: fn(&str),
) {
    let mut paused: Option<Instant> = None;
    let mut faults = FaultReports::default();
    for slot in taking {
        let rests = paused.is_some_and(|paused| paused.elapsed() < PAUSE);
        if rests {
            shared.failed.fetch_add(1, Ordering::Relaxed);
        } else {
            match folder.write(slot.frame.view(), slot.steering, slot.throttle) {
                Ok(()) => {
                    shared.written.fetch_add(1, Ordering::Relaxed);
                    paused = None;
                    faults.well("the recording goes on", Instant::now(), say);
                }
                Err(error) => {
                    shared.failed.fetch_add(1, Ordering::Relaxed);
                    paused = Some(Instant::now());
                    let text = format!("the recording pauses, driving goes on: {error}");
                    faults.wrong(&text, Instant::now(), say);
                }
            }
        }
        let _ = giving.try_send(slot);
    }
}

#[cfg(test)]
mod tests;
