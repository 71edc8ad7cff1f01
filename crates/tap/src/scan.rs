//! A lidar's scan, as an observer reads it.

use pilotage_vehicle::{Scan, Time};

/// A scan with its number and time.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberedScan {
    /// The number, counted from 1 ([`FrameRecord::scan`](crate::FrameRecord::scan)).
    pub number: u64,
    /// When it was complete, on the clock of the drive.
    pub taken: Time,
    /// The distances.
    pub scan: Scan,
}

impl Default for NumberedScan {
    /// No scan, with memory for the largest.
    fn default() -> Self {
        Self {
            number: 0,
            taken: Time::ZERO,
            scan: Scan::default(),
        }
    }
}
