//! The positions of the words in the shared memory, version [`VERSION`].
//!
//! | words | content |
//! |---|---|
//! | 0 | [`MAGIC`] |
//! | 1 | [`VERSION`] |
//! | 2 to 5 | slots for records, slots for pictures, bytes of a picture, points of the track |
//! | 6 | bit 0: simulated |
//! | 7, 8 | deadline and frame period, nanoseconds |
//! | 9 to 17 | the name's length in bytes, and its bytes |
//! | 18, 19 | slots for scans, and the most rays of one |
//! | 24 | records published so far |
//! | 32 | pictures published so far |
//! | 40 | scans published so far |
//! | 48 ... | what the engine gets: [`EngineInputs`](crate::EngineInputs) |
//! | 104 ... | points of the track, x and y as f32 in one word |
//! | ... | slots for records: a stamp, then a [`FrameRecord`](crate::FrameRecord) |
//! | ... | slots for pictures: a stamp, [`PICTURE_HEAD`] words, then the bytes |
//! | ... | slots for scans: a stamp, [`SCAN_HEAD`] words, then the distances as u16 |

use pilotage_vehicle::MOST_RAYS;

use crate::FrameRecord;

/// The version of the memory's layout and of the messages. It changes with every change of either.
pub const VERSION: u32 = 4;
/// Marks the memory as a tap's.
pub(crate) const MAGIC: u64 = u64::from_be_bytes(*b"PILOTTAP");
/// The largest length of a drive's name in bytes; a longer name is truncated.
pub const LONGEST_NAME: usize = 64;
/// The largest number of points of a track.
pub const MAX_TRACK_POINTS: usize = 4096;

/// Words of a record.
pub(crate) const RECORD_WORDS: usize = size_of::<FrameRecord>() / 8;
/// Words of a record's slot: four cache lines.
pub(crate) const RECORD_SLOT: usize = 32;
/// Words between a picture slot's stamp and its bytes: sequence, capture time, format, width and
/// height, number of bytes.
pub(crate) const PICTURE_HEAD: usize = 5;
/// Slots for records: 8 s at 64 frames a second.
pub(crate) const RECORD_SLOTS: usize = 512;
/// Slots for pictures. The reader needs one that is not being written.
pub(crate) const PICTURE_SLOTS: usize = 4;
/// Slots for scans: half a second at 128 scans a second.
pub(crate) const SCAN_SLOTS: usize = 64;
/// Words between a scan slot's stamp and its distances: when it was complete, the number of rays, the
/// first and the last direction in one word.
pub(crate) const SCAN_HEAD: usize = 3;

const _: () = assert!(size_of::<FrameRecord>().is_multiple_of(8));
const _: () = assert!(RECORD_WORDS < RECORD_SLOT);

/// Indices of the words at the start.
pub(crate) mod at {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = 1;
    pub(crate) const RECORD_SLOTS: usize = 2;
    pub(crate) const PICTURE_SLOTS: usize = 3;
    pub(crate) const PICTURE_BYTES: usize = 4;
    pub(crate) const TRACK_POINTS: usize = 5;
    pub(crate) const SIMULATED: usize = 6;
    pub(crate) const DEADLINE: usize = 7;
    pub(crate) const FRAME_PERIOD: usize = 8;
    pub(crate) const NAME_LENGTH: usize = 9;
    pub(crate) const NAME: usize = 10;
    pub(crate) const SCAN_SLOTS: usize = 18;
    pub(crate) const SCAN_RAYS: usize = 19;
    pub(crate) const RECORDS: usize = 24;
    pub(crate) const PICTURES: usize = 32;
    pub(crate) const SCANS: usize = 40;
    pub(crate) const INPUTS: usize = 48;
    pub(crate) const TRACK: usize = 104;
}

/// The sizes of the sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) record_slots: usize,
    pub(crate) picture_slots: usize,
    pub(crate) picture_bytes: usize,
    pub(crate) track_points: usize,
    /// 0 without a lidar.
    pub(crate) scan_slots: usize,
    pub(crate) scan_rays: usize,
}

impl Layout {
    /// Whether the sizes are within their limits, so that no other method can overflow.
    pub(crate) fn is_valid(&self) -> bool {
        (1..=1 << 16).contains(&self.record_slots)
            && (1..=64).contains(&self.picture_slots)
            && self.picture_bytes <= 1 << 29
            && self.track_points <= MAX_TRACK_POINTS
            && self.scan_slots <= 1 << 10
            && self.scan_rays <= MOST_RAYS
    }

    /// The first word of the record slot with this index.
    pub(crate) fn record(&self, slot: usize) -> usize {
        (at::TRACK + self.track_points).next_multiple_of(8) + slot * RECORD_SLOT
    }

    /// The first word of the picture slot with this index.
    pub(crate) fn picture(&self, slot: usize) -> usize {
        self.record(self.record_slots) + slot * self.picture_slot()
    }

    /// Words of a picture's slot.
    pub(crate) fn picture_slot(&self) -> usize {
        (1 + PICTURE_HEAD + self.picture_bytes.div_ceil(8)).next_multiple_of(8)
    }

    /// The first word of the scan slot with this index.
    pub(crate) fn scan(&self, slot: usize) -> usize {
        self.picture(self.picture_slots) + slot * self.scan_slot()
    }

    /// Words of a scan's slot.
    pub(crate) fn scan_slot(&self) -> usize {
        (1 + SCAN_HEAD + self.scan_rays.div_ceil(4)).next_multiple_of(8)
    }

    /// Words of the memory.
    pub(crate) fn words(&self) -> usize {
        self.scan(self.scan_slots)
    }
}
