//! The scans of a log, by their numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilotage_mcap::LaserScan;
use pilotage_vehicle::Scan;

use crate::limits::MOST_RECORDS;

/// The most distances of all scans, which take 2 GiB, as in a file of scans.
const MOST_DISTANCES: usize = 1 << 30;

/// The scans of a log.
#[derive(Debug, Default)]
pub(super) struct Scans {
    by_number: BTreeMap<u64, Arc<Scan>>,
    distances: usize,
}

impl Scans {
    /// Adds a message, unless it is no scan or there are too many.
    pub fn add(&mut self, message: &[u8]) {
        let message = serde_json::from_slice::<LaserScan>(message).ok();
        let Some((number, scan)) = message.and_then(|it| Some((it.number, it.scan()?))) else {
            return;
        };
        let distances = self.distances + scan.millimetres.len();
        if distances <= MOST_DISTANCES && self.by_number.len() < MOST_RECORDS {
            self.distances = distances;
            // Of several drives in one file, whose numbers begin anew, the first counts.
            self.by_number
                .entry(number)
                .or_insert_with(|| Arc::new(scan));
        }
    }

    /// The scan with this number.
    pub fn get(&self, number: u64) -> Option<Arc<Scan>> {
        self.by_number.get(&number).cloned()
    }
}
