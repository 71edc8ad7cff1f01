//! Keeps the guard's thread to a share of a processor. It runs before all other programs: a
//! flood of messages must not make it take a processor from the pilot.

use std::time::Duration;

use pilotage_vehicle::Time;

/// One part in so many of the time may be used.
const PARTS: u32 = 3;
/// What may have been used beyond that before the thread rests.
const BUSY: Duration = Duration::from_millis(1);

/// An account of the processor time that a thread uses.
#[derive(Debug)]
pub(crate) struct Share {
    at: Time,
    /// The thread's processor time at that moment.
    used: Duration,
    /// What was used beyond the share.
    busy: Duration,
}

impl Share {
    pub(crate) const fn new(at: Time, used: Duration) -> Self {
        Self {
            at,
            used,
            busy: Duration::ZERO,
        }
    }

    /// How long to rest at `now`, when the thread has used the processor for `used` since its
    /// start.
    pub(crate) fn rest(&mut self, now: Time, used: Duration) -> Duration {
        let spent = used.saturating_sub(self.used);
        let allowed = now.since(self.at) / PARTS;
        self.busy = (self.busy + spent).saturating_sub(allowed);
        (self.at, self.used) = (now, used);
        match self.busy >= BUSY {
            true => PARTS * self.busy,
            false => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    /// The share of the time that a thread uses which never waits but for its rests.
    fn greedy(step: Duration) -> f64 {
        let (mut now, mut used) = (Time::ZERO, Duration::ZERO);
        let mut share = Share::new(now, used);
        while now < Time::from_nanos(1_000_000_000) {
            (now, used) = (now + step, used + step);
            now = now + share.rest(now, used);
        }
        used.as_secs_f64() / now.since(Time::ZERO).as_secs_f64()
    }

    #[test]
    fn a_greedy_thread_gets_a_third() {
        for step in [10 * MICRO, 300 * MICRO, 2000 * MICRO] {
            let share = greedy(step);
            assert!((0.32..0.35).contains(&share), "{step:?}: {share}");
        }
    }

    #[test]
    fn a_thread_that_waits_never_rests() {
        let (mut now, mut used) = (Time::ZERO, Duration::ZERO);
        let mut share = Share::new(now, used);
        for _ in 0..1000 {
            (now, used) = (now + 100 * MICRO, used + 30 * MICRO);
            assert_eq!(share.rest(now, used), Duration::ZERO);
        }
    }

    #[test]
    fn a_burst_is_allowed_and_paid_for() {
        let mut share = Share::new(Time::ZERO, Duration::ZERO);
        let at = |micros: u64| Time::from_nanos(micros * 1000);
        assert_eq!(share.rest(at(900), 900 * MICRO), Duration::ZERO);
        // 1,800 used of 600 allowed.
        assert_eq!(share.rest(at(1800), 1800 * MICRO), 3600 * MICRO);
        assert_eq!(share.rest(at(5400), 1800 * MICRO), Duration::ZERO);
    }
}
