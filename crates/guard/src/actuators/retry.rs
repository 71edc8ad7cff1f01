//! How often a device that fails is tried again.

use std::time::Duration;

use pilotage_vehicle::Time;

/// The longest wait between two tries.
const LONGEST: Duration = Duration::from_millis(320);
const FIRST: Duration = Duration::from_millis(5);

/// Tries at once after a first failure, since a single disturbance on a bus is common and
/// failsafe must not wait for it; then at waits that double, so that a dead bus, each try of
/// which can take its time-out, does not eat the guard's ticks.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    failures: u32,
    next: Option<Time>,
}

impl Retry {
    /// Whether a try is due.
    pub(crate) fn due(&self, now: Time) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    /// A try failed. True for the first one since all was well.
    pub(crate) fn failed(&mut self, now: Time) -> bool {
        self.next = self.failures.checked_sub(1).map(|doublings| {
            let wait = FIRST.saturating_mul(1 << doublings.min(10));
            now + wait.min(LONGEST)
        });
        self.failures = self.failures.saturating_add(1);
        self.failures == 1
    }

    /// A try succeeded. True for the first one since a failure.
    pub(crate) fn succeeded(&mut self) -> bool {
        let was = self.failures > 0;
        *self = Self::default();
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_double_up_to_the_longest() {
        let mut retry = Retry::default();
        let mut now = Time::from_nanos(1);
        let mut waits = Vec::new();
        for _ in 0..10 {
            assert!(retry.due(now));
            let _ = retry.failed(now);
            let before = now;
            while !retry.due(now) {
                now = now + Duration::from_millis(1);
            }
            waits.push(now.since(before).as_millis());
        }
        assert_eq!(waits, [0, 5, 10, 20, 40, 80, 160, 320, 320, 320]);
        assert!(retry.succeeded());
        assert!(!retry.succeeded());
        assert!(retry.due(now));
    }
}
