//! Forwards an operator's buttons to the guard.

use pilotage_gamepad::Presses;

use super::{RequestError, Requests};

/// Forwards an operator's buttons to the guard: each press once, the stop button's level at each
/// change.
#[derive(Debug, Default)]
pub struct ButtonActions {
    /// The stop button is held.
    held: bool,
}

impl ButtonActions {
    /// Executes the presses by `requests`; failures are reported to `say`.
    pub fn apply(&mut self, presses: Presses, requests: &mut dyn Requests, say: &impl Fn(&str)) {
        let changed = presses.stop_held != self.held;
        self.held = presses.stop_held;
        if changed && self.held {
            report(requests.hold_stop(true), say);
        } else if presses.stop {
            report(requests.stop(), say);
        } else if self.held {
            requests.keep_holding();
        }
        if changed && !self.held {
            report(requests.hold_stop(false), say);
        }
        let arm = presses.arm || presses.arm_dropped;
        if arm && (self.held || presses.arm_dropped) {
            say("not armed: the stop button is held");
        } else if arm && presses.stop {
            say("not armed: the stop button was pressed with it");
        } else if arm && let Err(error) = requests.arm() {
            say(&format!("not armed: {error}"));
        }
    }

    /// The gamepad is gone: the car stops, and no button is held any more.
    ///
    /// # Errors
    /// Fails if the car cannot be stopped.
    pub fn lost(&mut self, requests: &mut dyn Requests) -> Result<(), RequestError> {
        let stopped = requests.lost();
        if std::mem::take(&mut self.held) {
            requests.hold_stop(false)?;
        }
        stopped
    }
}

fn report(stopped: Result<(), RequestError>, say: &impl Fn(&str)) {
    if let Err(error) = stopped {
        say(&error.to_string());
    }
}
