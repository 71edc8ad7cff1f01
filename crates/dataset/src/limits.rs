//! Limits of a recording.

/// The largest width and height of a picture, pixels.
pub const LARGEST_SIDE: u32 = 8192;
/// The largest number of records of a recording: 138 hours at 20 Hz.
pub const MOST_RECORDS: usize = 10_000_000;
/// The largest share of bad pictures that are passed over, percent. Some are lost in every power
/// cut; more mean that something is wrong with the camera, the disk or the copy.
pub const BAD_SHARE_PERCENT: usize = 5;

/// Whether `bad` of `of` are at most [`BAD_SHARE_PERCENT`] percent.
pub const fn tolerable(bad: usize, of: usize) -> bool {
    bad.saturating_mul(100) <= of.saturating_mul(BAD_SHARE_PERCENT)
}
