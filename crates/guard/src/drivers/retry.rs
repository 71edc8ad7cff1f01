//! The intervals at which a failed device is retried.

use std::time::Duration;

use pilotage_vehicle::Time;

/// The longest wait between two attempts.
const LONGEST: Duration = Duration::from_millis(320);
const FIRST: Duration = Duration::from_millis(5);

/// Retries at once after the first failure, because a single disturbance on a bus is common and
/// must not delay failsafe. After that the waits double: each attempt on a dead bus can take its
/// full timeout, which must not use up the guard's ticks.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    failures: u32,
    next: Option<Time>,
}

impl Retry {
    /// Whether an attempt is due.
    pub(crate) fn due(&self, now: Time) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    /// Records a failed attempt. Returns true for the first failure since the last success.
    pub(crate) fn failed(&mut self, now: Time) -> bool {
        self.next = self.failures.checked_sub(1).map(|doublings| {
            let wait = FIRST.saturating_mul(1 << doublings.min(10));
            now + wait.min(LONGEST)
        });
        self.failures = self.failures.saturating_add(1);
        self.failures == 1
    }

    /// Records a successful attempt. Returns true for the first success since a failure.
    pub(crate) fn succeeded(&mut self) -> bool {
        let had_failed = self.failures > 0;
        *self = Self::default();
        had_failed
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
