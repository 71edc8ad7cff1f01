use pilotage_vehicle::{Clock, Time};

/// CLOCK_MONOTONIC, on which the kernel stamps frames.
#[derive(Debug, Clone, Copy, Default)]
pub struct Monotonic;

impl Clock for Monotonic {
    fn now(&self) -> Time {
        pilotage_guard::monotonic()
    }
}
