//! Selects the setting of a device that is read back next.

use std::time::Duration;

use pilotage_vehicle::Time;

/// Each setting of a device is read back once within this time.
pub const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Settings that are read back one after the other, at most one per tick.
#[derive(Debug)]
pub(crate) struct Rotation {
    next: Time,
    index: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            next: Time::from_nanos(0),
            index: 0,
        }
    }
}

impl Rotation {
    /// The index of the setting, out of `count`, that is due now, if one is.
    pub(crate) fn due(&mut self, now: Time, count: u32) -> Option<u32> {
        if now < self.next || count == 0 {
            return None;
        }
        // One share more than needed, because checks happen only at ticks.
        let share = CHECK_EVERY / (count + 1);
        // Catch up after late ticks, but not after a pause.
        let late = now.since(self.next) > CHECK_EVERY;
        self.next = if late { now } else { self.next } + share;
        self.index = (self.index + 1) % count;
        Some(self.index)
    }

    /// Starts again, after all settings have been written.
    pub(crate) fn restart(&mut self, now: Time) {
        self.next = now;
        self.index = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_read_back_within_a_second_at_any_tick() {
        for tick in [1, 5, 7, 13, 40, 100] {
            let mut rotation = Rotation::default();
            let mut now = Time::from_nanos(1);
            rotation.restart(now);
            let mut last = [now; 9];
            for _ in 0..10_000 {
                if let Some(index) = rotation.due(now, 9) {
                    let gap = now.since(last[index as usize]);
                    assert!(
                        gap <= CHECK_EVERY,
                        "{index} after {gap:?}, ticks of {tick} ms"
                    );
                    last[index as usize] = now;
                }
                now = now + Duration::from_millis(tick);
            }
            assert!(last.iter().all(|at| now.since(*at) <= CHECK_EVERY));
        }
    }

    #[test]
    fn a_restart_makes_the_first_check_due_at_once() {
        let mut rotation = Rotation::default();
        let start = Time::from_nanos(1);
        assert_eq!(rotation.due(start, 4), Some(1));
        let share = CHECK_EVERY / 5;
        // At the very moment, and not before it.
        let due = Time::from_nanos(0) + share;
        let before = Time::from_nanos(due.as_nanos() - 1);
        assert_eq!(rotation.due(before, 4), None);
        assert_eq!(rotation.due(due, 4), Some(2));
        rotation.restart(before);
        assert_eq!(rotation.due(before, 4), Some(1));
    }

    #[test]
    fn a_pause_is_not_caught_up() {
        let mut rotation = Rotation::default();
        let mut now = Time::from_nanos(1);
        let _ = rotation.due(now, 4);
        now = now + Duration::from_secs(100);
        assert!(rotation.due(now, 4).is_some());
        assert!(rotation.due(now, 4).is_none());
    }
}
