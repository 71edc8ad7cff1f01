//! Records the frames and the commands of a drive, in a folder that training, calibration and the
//! `folder` camera read.
//!
//! Beside the driving loop a thread encodes and writes, and another waits until all of it is on the
//! disk. Each frame is copied into one of a fixed number of buffers, by the loop or, where an operator
//! drives, by a thread that waits for frames. If no buffer is free, the frame is dropped and counted:
//! a slow disk costs frames, but no memory and no commands. Only where time is simulated does the loop
//! wait instead.

mod folder;
mod sync;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pilotage_console::FaultReports;
use pilotage_vehicle::{Measurements, Mixer, Scan};
use pilotage_vision::{Frame, FrameView, PixelFormat, VisionError};
use serde::Serialize;

use pilotage_camera::{BoxedCamera, CameraError};

use crate::high_level::Commands;
use crate::sensors::Sensors;

pub use folder::{Encoding, Folder, FolderError};
use sync::Synced;

/// The number of buffers for frames on their way to the disk: 15 MB of 640x480 RGB.
const BUFFERS: usize = 16;
/// How long nothing is written after a failed write.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a patient recorder waits for a free buffer, and how often it looks.
const HANGING: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_millis(1);
/// A lost camera answers at once; it is asked again after this.
const AWAY: Duration = Duration::from_millis(20);

/// What is recorded with a frame beside the values that drive.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Numbers<'a> {
    /// What the car's sensors measured.
    pub measured: Measurements,
    /// The place of the high-level command.
    pub command: Option<u8>,
    /// The lidar's latest scan.
    pub scan: Option<&'a Scan>,
}

/// The steering and throttle in effect, shared with the thread that takes frames.
#[derive(Debug)]
pub struct Steered {
    /// Steering and throttle in one atomic value, so that they always belong to the same moment.
    both: AtomicU64,
    always: bool,
}

/// Two NaNs: nothing is to be recorded.
const UNDRIVEN: u64 = u64::MAX;

impl Steered {
    /// Nothing drives yet. With `always`, frames are recorded even then, with the car at rest.
    pub fn new(always: bool) -> Self {
        let both = AtomicU64::new(UNDRIVEN);
        Self { both, always }
    }

    /// Sets the values in effect from now on; not `driven` means that nothing drives.
    pub fn set(&self, driven: bool, steering: f32, throttle: f32) {
        let both = match (driven, self.always) {
            (true, _) => pack(steering, throttle),
            (false, true) => pack(0.0, 0.0),
            (false, false) => UNDRIVEN,
        };
        self.both.store(both, Ordering::Release);
    }

    /// The values in effect; `None` while nothing is to be recorded.
    pub fn get(&self) -> Option<(f32, f32)> {
        let both = self.both.load(Ordering::Acquire);
        let half = |shift: u32| f32::from_bits((both >> shift) as u32);
        (both != UNDRIVEN).then(|| (half(32), half(0)))
    }
}

fn pack(steering: f32, throttle: f32) -> u64 {
    u64::from(steering.to_bits()) << 32 | u64::from(throttle.to_bits())
}

/// What became of the frames to record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RecordingCounts {
    /// Written to the folder, each with its row.
    pub written: u64,
    /// Dropped, because the disk was too slow.
    pub dropped: u64,
    /// Not written, because a write failed.
    pub failed: u64,
}

/// The result of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordingReport {
    /// The folder.
    pub folder: PathBuf,
    /// What became of the frames.
    #[serde(flatten)]
    pub counts: RecordingCounts,
}

/// Why a recording cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The folder cannot be recorded to.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The size of the camera's frames cannot be recorded.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// The system could not create a thread.
    #[error("the system has no thread to record with: {0}")]
    Thread(std::io::Error),
}

#[derive(Debug)]
struct Shared {
    /// The most frames to write.
    limit: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    /// The camera has no more pictures.
    ended: AtomicBool,
    end: AtomicBool,
}

impl Shared {
    fn new() -> Self {
        Self {
            limit: AtomicU64::new(u64::MAX),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            end: AtomicBool::new(false),
        }
    }

    /// Whether as many frames are written as are wanted.
    fn is_full(&self) -> bool {
        self.written.load(Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed)
    }

    fn counts(&self) -> RecordingCounts {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RecordingCounts {
            written: count(&self.written),
            dropped: count(&self.dropped),
            failed: count(&self.failed),
        }
    }
}

/// A frame on its way to the disk.
struct Slot {
    frame: Frame,
    steering: f32,
    throttle: f32,
    numbers: Numbers<'static>,
    /// That of the frame; not whole if there is none.
    scan: Scan,
}

/// Records frames: copies each into a free buffer, which a thread encodes and writes.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    folder: PathBuf,
    free: Receiver<Slot>,
    /// `None` at the end, so that the writer ends.
    full: Option<SyncSender<Slot>>,
    writer: Option<JoinHandle<()>>,
    commands: Option<Arc<Commands>>,
    patient: bool,
    say: fn(&str),
}

impl Recorder {
    /// Records frames of this format, width and height in `folder`; `commands` has the names of
    /// high-level commands. Where the recorder is
    /// `patient`, a frame waits for a free buffer; else it is dropped and counted. Faults, and
    /// their ends, are reported to `say`; the drive continues.
    ///
    /// # Errors
    /// Fails if a part cannot be created; nothing is written then.
    pub fn start(
        (format, width, height): (PixelFormat, u32, u32),
        folder: Folder,
        mixer: Mixer,
        commands: Option<Arc<Commands>>,
        patient: bool,
        say: fn(&str),
    ) -> Result<Self, RecorderError> {
        let shared = Arc::new(Shared::new());
        let path = folder.path().to_owned();
        let (free_sender, free) = sync_channel(BUFFERS);
        let (full, full_receiver) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            let slot = Slot {
                frame: Frame::new(format, width, height)?,
                steering: 0.0,
                throttle: 0.0,
                numbers: Numbers::default(),
                scan: Scan::default(),
            };
            // The channel has room for every slot.
            let _ = free_sender.try_send(slot);
        }
        let file_system = folder.file_system()?;
        let synced = Synced::start(file_system, say).map_err(RecorderError::Thread)?;
        let folder = folder.of((format, width, height), mixer, commands.clone())?;
        let writer = {
            let shared = Arc::clone(&shared);
            let work = move || write(folder, synced, &full_receiver, &free_sender, &shared, say);
            spawn("recorder", work)?
        };
        Ok(Self {
            shared,
            folder: path,
            free,
            full: Some(full),
            writer: Some(writer),
            commands,
            patient,
            say,
        })
    }

    /// Writes at most this many frames in all, however many are in flight when the last of them is
    /// written. Call it before the first frame.
    #[must_use]
    pub fn keep(self, most: Option<u64>) -> Self {
        let most = most.unwrap_or(u64::MAX);
        self.shared.limit.store(most, Ordering::Relaxed);
        self
    }

    /// Records `frame` with steering and throttle, and `numbers`. Allocates nothing, and waits only if
    /// the recorder is patient.
    pub fn take(
        &mut self,
        frame: FrameView<'_>,
        (steering, throttle): (f32, f32),
        numbers: Numbers<'_>,
    ) {
        if self.shared.is_full() {
            return;
        }
        let began = Instant::now();
        let free = loop {
            match self.free.try_recv() {
                // A blocking receive would allocate. A disk that hangs ends the wait, so that the
                // drive can be ended.
                Err(TryRecvError::Empty) if self.patient && began.elapsed() < HANGING => {
                    std::thread::sleep(WAIT);
                }
                received => break received.ok(),
            }
        };
        let Some(mut slot) = free else {
            if self.shared.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                (self.say)("the disk is too slow: frames are dropped, and counted");
            }
            return;
        };
        (slot.steering, slot.throttle) = (steering, throttle);
        slot.numbers = Numbers {
            measured: numbers.measured,
            command: numbers.command,
            scan: None,
        };
        match numbers.scan {
            Some(scan) => slot.scan.copy_from(scan),
            None => slot.scan.clear(),
        }
        // Both frames have the camera's format.
        if slot.frame.copy_from(frame).is_ok()
            && let Some(full) = &self.full
        {
            let _ = full.try_send(slot);
        }
    }

    /// What became of the frames so far.
    pub fn counts(&self) -> RecordingCounts {
        self.shared.counts()
    }

    /// Writes the frames in flight, and returns the result.
    pub fn finish(mut self) -> RecordingReport {
        self.join();
        RecordingReport {
            folder: self.folder.clone(),
            counts: self.counts(),
        }
    }

    fn join(&mut self) {
        self.full = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.join();
    }
}

/// Takes a camera's frames, and records them while an operator drives.
#[derive(Debug)]
pub struct FrameTaker {
    shared: Arc<Shared>,
    folder: PathBuf,
    camera: Option<JoinHandle<()>>,
}

impl FrameTaker {
    /// Records the frames of `camera` in `folder`, each with the values of `steered` at its
    /// arrival, the high-level command and the numbers of `sensors`. Faults, and their ends, are reported to `say`; the drive continues.
    ///
    /// # Errors
    /// Fails if a part cannot be created; nothing is written then.
    pub fn start(
        camera: BoxedCamera,
        folder: Folder,
        mixer: Mixer,
        (commands, sensors): (Option<Arc<Commands>>, Option<Box<dyn Sensors + Send>>),
        steered: Arc<Steered>,
        say: fn(&str),
    ) -> Result<Self, RecorderError> {
        let (format, width, height) = camera.format();
        let frame = Frame::new(format, width, height)?;
        let recorder = Recorder::start(camera.format(), folder, mixer, commands, false, say)?;
        let (shared, path) = (Arc::clone(&recorder.shared), recorder.folder.clone());
        let work = move || take((camera, sensors), frame, &steered, recorder);
        Ok(Self {
            shared,
            folder: path,
            camera: Some(spawn("camera", work)?),
        })
    }

    /// Writes at most this many frames in all, however many are in flight when the last of them is
    /// written. Call it before the first frame.
    #[must_use]
    pub fn keep(self, most: Option<u64>) -> Self {
        let most = most.unwrap_or(u64::MAX);
        self.shared.limit.store(most, Ordering::Relaxed);
        self
    }

    /// What became of the frames so far.
    pub fn counts(&self) -> RecordingCounts {
        self.shared.counts()
    }

    /// Whether the camera has no more pictures.
    pub fn ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// Writes the frames in flight, and returns the result.
    pub fn finish(mut self) -> RecordingReport {
        self.join();
        RecordingReport {
            folder: self.folder.clone(),
            counts: self.counts(),
        }
    }

    fn join(&mut self) {
        self.shared.end.store(true, Ordering::Release);
        // The camera's thread owns the recorder, and ends after it.
        if let Some(camera) = self.camera.take() {
            let _ = camera.join();
        }
    }
}

impl Drop for FrameTaker {
    fn drop(&mut self) {
        self.join();
    }
}

fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, RecorderError> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map_err(RecorderError::Thread)
}

/// Takes frames until the end.
fn take(
    (mut camera, mut sensors): (BoxedCamera, Option<Box<dyn Sensors + Send>>),
    mut frame: Frame,
    steered: &Steered,
    mut recorder: Recorder,
) {
    let (shared, say) = (Arc::clone(&recorder.shared), recorder.say);
    let mut scan = Scan::default();
    let mut faults = FaultReports::default();
    while !shared.end.load(Ordering::Acquire) {
        match camera.next(&mut frame) {
            Ok(()) => {
                let back = "the camera is back; recording resumed";
                faults.well(back, Instant::now(), say);
                if let Some(values) = steered.get() {
                    let command = recorder.commands.as_ref().and_then(|it| it.place());
                    let mut measured = Measurements::default();
                    if let Some(sensors) = &mut sensors {
                        (measured, _) = sensors.read();
                        sensors.scan(&mut scan);
                    }
                    let numbers = Numbers {
                        measured,
                        command,
                        scan: Some(&scan).filter(|scan| scan.is_whole()),
                    };
                    recorder.take(frame.view(), values, numbers);
                }
            }
            Err(CameraError::Ended { .. }) => {
                shared.ended.store(true, Ordering::Release);
                return;
            }
            Err(error) => {
                let text = format!("{error}; nothing is recorded; driving continues");
                faults.wrong(&text, Instant::now(), say);
                std::thread::sleep(AWAY);
            }
        }
    }
}

/// Writes frames until the recorder ends.
fn write(
    mut folder: folder::Writer,
    mut synced: Synced,
    full_receiver: &Receiver<Slot>,
    free_sender: &SyncSender<Slot>,
    shared: &Shared,
    say: fn(&str),
) {
    let mut paused: Option<Instant> = None;
    let mut faults = FaultReports::default();
    for slot in full_receiver {
        let is_paused = paused.is_some_and(|paused| paused.elapsed() < PAUSE);
        if shared.is_full() {
            // In flight when the last wanted frame was written.
        } else if is_paused {
            shared.failed.fetch_add(1, Ordering::Relaxed);
        } else {
            match folder.write(
                slot.frame.view(),
                (slot.steering, slot.throttle),
                Numbers {
                    scan: slot.scan.is_whole().then_some(&slot.scan),
                    ..slot.numbers
                },
            ) {
                Ok(()) => {
                    shared.written.fetch_add(1, Ordering::Relaxed);
                    synced.written();
                    paused = None;
                    faults.well("recording resumed", Instant::now(), say);
                }
                Err(error) => {
                    shared.failed.fetch_add(1, Ordering::Relaxed);
                    paused = Some(Instant::now());
                    let text = format!("recording paused; driving continues: {error}");
                    faults.wrong(&text, Instant::now(), say);
                }
            }
        }
        let _ = free_sender.try_send(slot);
    }
}

#[cfg(test)]
mod tests;
