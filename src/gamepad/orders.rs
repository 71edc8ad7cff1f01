//! Forwards an operator's buttons to the guard.

use pilotage_guard::StopError;

use super::{Operator, Presses};

/// Forwards an operator's buttons to the guard: each press once, the stop button's level at each
/// change.
#[derive(Debug)]
pub struct Orders {
    operator: Operator,
    held: bool,
}

impl Orders {
    /// For `operator`, whose stop button is not held.
    pub const fn new(operator: Operator) -> Self {
        Self {
            operator,
            held: false,
        }
    }

    /// Executes the presses; failures are reported to `say`.
    pub fn obey(&mut self, presses: Presses, say: &impl Fn(&str)) {
        let changed = presses.stop_held != self.held;
        self.held = presses.stop_held;
        if changed && self.held {
            report(self.operator.hold_stop(true), say);
        } else if presses.stop {
            report(self.operator.stop(), say);
        } else if self.held {
            self.operator.keep_holding();
        }
        if changed && !self.held {
            report(self.operator.hold_stop(false), say);
        }
        let arm = presses.arm || presses.arm_dropped;
        if arm && (self.held || presses.arm_dropped) {
            say("not armed: the stop button is held");
        } else if arm && presses.stop {
            say("not armed: the stop button was pressed with it");
        } else if arm && let Err(error) = self.operator.arm() {
            say(&format!("not armed: {error}"));
        }
    }

    /// The gamepad is gone: the car stops, and no button is held any more.
    ///
    /// # Errors
    /// Fails if the car cannot be stopped.
    pub fn lost(&mut self) -> Result<(), StopError> {
        let stopped = self.operator.lost();
        if std::mem::take(&mut self.held) {
            self.operator.hold_stop(false)?;
        }
        stopped
    }
}

impl Drop for Orders {
    /// A thread that panics while it owns an operator's buttons is treated as a lost gamepad.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.operator.lost();
        }
    }
}

fn report<T>(stopped: Result<T, StopError>, say: &impl Fn(&str)) {
    if let Err(error) = stopped {
        say(&error.to_string());
    }
}
