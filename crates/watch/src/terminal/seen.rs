//! What the terminal view knows of a drive: the latest records and counts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use pilotage_tap::{Drive, FrameRecord, NumberedScan, flags};

/// Records that are kept, as many as the page keeps.
const KEPT: usize = 240;

/// What a drive's observer has seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub drive: Option<Drive>,
    pub frames: VecDeque<FrameRecord>,
    /// When the newest arrived here.
    pub newest: Option<Instant>,
    /// Why there is no pilot now.
    pub without: Option<String>,
    pub answered: u64,
    pub missed: u64,
    pub fallbacks: u64,
    /// Records that this program lost.
    pub lost: u64,
    /// How often the network's memory began anew.
    pub resets: u64,
    /// The nearest echo of the newest scan, metres and degrees.
    pub nearest: Option<(f32, f64)>,
    /// The result of the operator's last request.
    pub notice: Option<Notice>,
}

/// A message to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub text: String,
    pub is_bad: bool,
}

impl Notice {
    pub fn good(text: &str) -> Self {
        let text = text.to_owned();
        let is_bad = false;
        Self { text, is_bad }
    }

    pub fn bad(text: &str) -> Self {
        let text = text.to_owned();
        let is_bad = true;
        Self { text, is_bad }
    }
}

impl Seen {
    /// Nothing of this drive yet.
    pub fn of(drive: &Drive) -> Self {
        Self {
            drive: Some(drive.clone()),
            ..Self::default()
        }
    }

    pub fn has_drive(&self) -> bool {
        self.drive.is_some()
    }

    /// There is no pilot; what was seen stays.
    pub fn without(&mut self, reason: &str) {
        self.without = Some(reason.to_owned());
    }

    pub fn frame(&mut self, record: FrameRecord) {
        self.answered += 1;
        self.missed = self.missed.saturating_add(record.missed);
        self.fallbacks += u64::from(record.has(flags::FALLBACK));
        self.resets += u64::from(record.has(flags::MEMORY_RESET));
        self.newest = Some(Instant::now());
        if self.frames.len() >= KEPT {
            self.frames.pop_front();
        }
        self.frames.push_back(record);
    }

    pub fn scan(&mut self, scan: &NumberedScan) {
        let nearest = scan.scan.nearest_echo();
        self.nearest = nearest.map(|(angle, millimetres)| (f32::from(millimetres) * 1e-3, angle));
    }

    /// The times from capture to command, milliseconds, the oldest first.
    pub fn times(&self) -> impl DoubleEndedIterator<Item = f64> {
        let frames = self.frames.iter().filter(|frame| frame.arrived > 0);
        frames.map(|frame| ms(frame.arrived.saturating_sub(frame.captured) + frame.sent))
    }

    /// Frames a second.
    pub fn rate(&self) -> Option<f64> {
        let (first, last) = self.frames.front().zip(self.frames.back())?;
        let span = Duration::from_nanos(last.captured.checked_sub(first.captured)?);
        (!span.is_zero()).then(|| (self.frames.len() - 1) as f64 / span.as_secs_f64())
    }
}

pub(super) fn ms(nanos: u64) -> f64 {
    nanos as f64 * 1e-6
}

/// The share of the sorted `times` that is at most the result.
pub(super) fn quantile(times: &[f64], share: f64) -> f64 {
    let place = (share * times.len() as f64) as usize;
    let last = times.len().saturating_sub(1);
    times.get(place.min(last)).copied().unwrap_or_default()
}
