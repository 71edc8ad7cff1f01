use pilotage_vehicle::{Clock, Time};

/// CLOCK_MONOTONIC, which the kernel uses for the time stamps of frames.
#[derive(Debug, Clone, Copy, Default)]
pub struct Monotonic;

impl Clock for Monotonic {
    fn now(&self) -> Time {
        pilotage_guard::monotonic()
    }
}
