//! Commands in flight on simulated time, in a queue of fixed size.

use pilotage_vehicle::{Command, Time};

/// Most commands in flight to a guard: one for each frame of the longest deadline, 20 frame
/// periods, and a few more.
pub const QUEUE_CAPACITY: usize = 24;

/// A queue sorted by arrival time. Commands with the same arrival time keep the order in which they
/// were sent.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    slots: [Option<(Time, Command)>; QUEUE_CAPACITY],
    len: usize,
}

impl Queue {
    /// Returns false if the queue is full.
    pub(crate) fn push(&mut self, at: Time, command: Command) -> bool {
        if self.len == QUEUE_CAPACITY {
            return false;
        }
        let place =
            self.slots[..self.len].partition_point(|slot| slot.is_some_and(|(time, _)| time <= at));
        self.slots[self.len] = Some((at, command));
        self.slots[place..=self.len].rotate_right(1);
        self.len += 1;
        true
    }

    /// The next command and its arrival time, if it has arrived by `now`.
    pub(crate) fn pop(&mut self, now: Time) -> Option<(Time, Command)> {
        let (time, command) = self.slots[0]?;
        if time > now {
            return None;
        }
        self.slots[0] = None;
        self.slots[..self.len].rotate_left(1);
        self.len -= 1;
        Some((time, command))
    }

    /// Discards all commands.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
