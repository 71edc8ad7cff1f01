//! The pilot's end: it writes, and waits for no observer.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pilotage_linux::SharedMemory;
use pilotage_vehicle::{MOST_RAYS, Scan, Time, monotonic};

use crate::layout::{
    LONGEST_NAME, Layout, MAGIC, MAX_TRACK_POINTS, PICTURE_HEAD, PICTURE_SLOTS, RECORD_SLOT,
    RECORD_SLOTS, RECORD_WORDS, SCAN_HEAD, SCAN_SLOTS, VERSION, at,
};
use crate::requests::Requests;
use crate::{CreateError, EngineInputs, FrameRecord, PictureView, PixelFormat, ring};

/// The properties of a drive, which do not change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Drive {
    /// A description of the car; bytes beyond [`LONGEST_NAME`] are cut.
    pub name: String,
    /// Whether the simulator's car drives: an observer's stop then goes to the pilot, whose guard
    /// has no socket. The stop of any other car goes to its guard.
    pub simulated: bool,
    /// The guard's deadline.
    pub deadline: Duration,
    /// The time from frame to frame.
    pub frame_period: Duration,
    /// The centre line of a simulated circuit, metres; points beyond [`MAX_TRACK_POINTS`] are
    /// left out. Empty for a physical car.
    pub track: Vec<[f32; 2]>,
    /// What the engine gets besides the present picture.
    pub inputs: EngineInputs,
    /// The most rays of a scan of the lidar, at most [`MOST_RAYS`]; 0 without a lidar.
    pub lidar_rays: usize,
}

/// A scan that is the same as the one before is published again after this time.
const SAME_SCAN: Duration = Duration::from_millis(250);

/// Writes records and pictures for observers.
#[derive(Debug)]
pub struct Tap {
    memory: SharedMemory,
    layout: Layout,
    requests: Arc<Requests>,
    records: u64,
    pictures: u64,
    /// When the last picture was copied, on CLOCK_MONOTONIC.
    copied: Option<Time>,
    scans: u64,
    /// The last scan that was published, and when it was complete.
    scan: Scan,
    scanned: Time,
}

/// What a [`TapServer`](crate::TapServer) passes to observers.
#[derive(Debug)]
pub struct Source {
    pub(crate) memory: OwnedFd,
    pub(crate) requests: Arc<Requests>,
}

impl Tap {
    /// Creates the shared memory of a drive whose camera gives pictures of this format and size, in
    /// pixels. Later calls allocate nothing.
    ///
    /// # Errors
    /// When the size does not fit the format, or there is no memory.
    pub fn create(
        drive: &Drive,
        (format, width, height): (PixelFormat, u32, u32),
    ) -> Result<(Self, Source), CreateError> {
        let picture_bytes = format
            .bytes(width, height)
            .ok_or(CreateError::PictureSize { width, height })?;
        let layout = Layout {
            record_slots: RECORD_SLOTS,
            picture_slots: PICTURE_SLOTS,
            picture_bytes,
            track_points: drive.track.len().min(MAX_TRACK_POINTS),
            scan_slots: if drive.lidar_rays > 0 { SCAN_SLOTS } else { 0 },
            scan_rays: drive.lidar_rays.min(MOST_RAYS),
        };
        let memory =
            SharedMemory::create("pilotage-tap", layout.words()).map_err(CreateError::Memory)?;
        let requests = Arc::new(Requests::default());
        let source = Source {
            memory: memory.read_only_descriptor().map_err(CreateError::Memory)?,
            requests: Arc::clone(&requests),
        };
        let tap = Self {
            memory,
            layout,
            requests,
            records: 0,
            pictures: 0,
            copied: None,
            scans: 0,
            scan: Scan::default(),
            scanned: Time::ZERO,
        };
        tap.write_start(drive);
        Ok((tap, source))
    }

    fn write_start(&self, drive: &Drive) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let name = drive.name.as_bytes();
        let name = name.get(..LONGEST_NAME).unwrap_or(name);
        self.store(at::VERSION, VERSION.into());
        self.store(at::RECORD_SLOTS, self.layout.record_slots as u64);
        self.store(at::PICTURE_SLOTS, self.layout.picture_slots as u64);
        self.store(at::PICTURE_BYTES, self.layout.picture_bytes as u64);
        self.store(at::TRACK_POINTS, self.layout.track_points as u64);
        self.store(at::SCAN_SLOTS, self.layout.scan_slots as u64);
        self.store(at::SCAN_RAYS, self.layout.scan_rays as u64);
        for (index, word) in drive.inputs.words().into_iter().enumerate() {
            self.store(at::INPUTS + index, word);
        }
        self.store(at::SIMULATED, drive.simulated.into());
        self.store(at::DEADLINE, nanos(drive.deadline));
        self.store(at::FRAME_PERIOD, nanos(drive.frame_period));
        self.store(at::NAME_LENGTH, name.len() as u64);
        for (index, word) in words_of(name).enumerate() {
            self.store(at::NAME + index, word);
        }
        let points = drive.track.iter().take(self.layout.track_points);
        for (index, [x, y]) in points.enumerate() {
            let word = u64::from(x.to_bits()) | u64::from(y.to_bits()) << 32;
            self.store(at::TRACK + index, word);
        }
        self.store(at::MAGIC, MAGIC);
    }

    fn store(&self, index: usize, value: u64) {
        if let Some(word) = self.memory.words().get(index) {
            // Release: an observer that reads the number of records or pictures also sees their
            // content.
            word.store(value, Ordering::Release);
        }
    }

    /// Writes a record, over the oldest one. Never waits and allocates nothing.
    pub fn publish(&mut self, record: &FrameRecord) {
        let words: [u64; RECORD_WORDS] = zerocopy::transmute!(*record);
        let slot = (self.records % self.layout.record_slots as u64) as usize;
        let start = self.layout.record(slot);
        if let Some(slot) = self.memory.words().get(start..start + RECORD_SLOT) {
            ring::write(slot, self.records, words.into_iter());
        }
        self.records += 1;
        self.store(at::RECORDS, self.records);
    }

    /// Copies a picture if an observer wants one now; without an observer of pictures this costs
    /// one atomic load. A picture that is larger than the format given at the start is left out.
    /// Returns whether it was copied. Never waits and allocates nothing.
    pub fn offer_picture(&mut self, picture: &PictureView<'_>) -> bool {
        let Some(interval) = self.requests.picture_interval() else {
            return false;
        };
        let now = monotonic();
        let soon = |copied: Time| now.since(copied) < interval;
        if self.copied.is_some_and(soon) || picture.data.len() > self.layout.picture_bytes {
            return false;
        }
        self.copied = Some(now);
        let head: [u64; PICTURE_HEAD] = [
            picture.sequence,
            picture.captured,
            picture.format.code(),
            u64::from(picture.width) | u64::from(picture.height) << 32,
            picture.data.len() as u64,
        ];
        let slot = (self.pictures % self.layout.picture_slots as u64) as usize;
        let start = self.layout.picture(slot);
        let words = self.memory.words();
        if let Some(slot) = words.get(start..start + self.layout.picture_slot()) {
            let payload = head.into_iter().chain(words_of(picture.data));
            ring::write(slot, self.pictures, payload);
        }
        self.pictures += 1;
        self.store(at::PICTURES, self.pictures);
        true
    }

    /// Writes the lidar's latest scan, which was complete at `taken` on the clock of the drive, unless it is
    /// the one that was written last. Returns its number for [`FrameRecord::scan`]: 0 if it is not whole or
    /// has more rays than the drive's description. Never waits and allocates nothing.
    pub fn offer_scan(&mut self, scan: &Scan, taken: Time) -> u64 {
        if !scan.is_whole() || scan.rays.count() > self.layout.scan_rays {
            return 0;
        }
        let is_same = self.scans > 0 && self.scan == *scan;
        if is_same && taken.since(self.scanned) < SAME_SCAN {
            return self.scans;
        }
        self.scan.copy_from(scan);
        self.scanned = taken;
        let [start, end] = [scan.rays.start(), scan.rays.end()].map(f32::to_bits);
        let head: [u64; SCAN_HEAD] = [
            taken.as_nanos(),
            scan.rays.count() as u64,
            u64::from(start) | u64::from(end) << 32,
        ];
        let slot = (self.scans % self.layout.scan_slots as u64) as usize;
        let start = self.layout.scan(slot);
        let words = self.memory.words();
        if let Some(slot) = words.get(start..start + self.layout.scan_slot()) {
            let distances = scan.millimetres.chunks(4).map(|distances| {
                let shifted = distances.iter().zip([0, 16, 32, 48]);
                shifted.fold(0, |word, (&it, by)| word | u64::from(it) << by)
            });
            ring::write(slot, self.scans, head.into_iter().chain(distances));
        }
        self.scans += 1;
        self.store(at::SCANS, self.scans);
        self.scans
    }

    /// Whether an observer has requested an operator's stop since the last call. The loop calls
    /// this once per iteration and passes the stop to the guard; without a request it costs one
    /// atomic load.
    pub fn take_stop(&self) -> bool {
        self.requests.take_stop()
    }
}

/// `bytes` as words; the last one is filled with zeros.
fn words_of(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (whole, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let last = (!rest.is_empty()).then_some(last);
    whole.iter().copied().chain(last).map(u64::from_ne_bytes)
}
