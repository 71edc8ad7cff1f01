//! Messages to the operator during a drive of a real car.

use std::time::Instant;

use pilotage_console::{FaultReports, say_always};
use pilotage_guard::{State, StopReason};

/// Reports each change once, and a recurring fault from time to time with a count.
#[derive(Default)]
pub struct Watch {
    state: Option<std::mem::Discriminant<State>>,
    reason: Option<StopReason>,
    faults: FaultReports,
}

impl Watch {
    /// Reports the guard's state.
    pub fn state(&mut self, state: State) {
        let kind = std::mem::discriminant(&state);
        if (self.state, self.reason) == (Some(kind), state.stopped()) {
            return;
        }
        (self.state, self.reason) = (Some(kind), state.stopped());
        match state {
            State::Disarmed => say("disarmed: `pilotage arm` arms the car"),
            State::Armed(_) => say("armed"),
            State::Driving(_) => say("driving; `pilotage stop` stops the car"),
            State::Trimming(_) => say("being trimmed"),
            State::Stopped { reason } => {
                say(&format!(
                    "stopped: {reason}; `pilotage arm` arms the car again"
                ));
            }
        }
    }

    /// Reports a fault.
    pub fn wrong(&mut self, error: &dyn std::error::Error) {
        self.faults.wrong(&error.to_string(), Instant::now(), say);
    }

    /// Reports with `message` that a fault is over, if there was one.
    pub fn well(&mut self, message: &str) {
        self.faults.well(message, Instant::now(), say);
    }
}

/// Writes over the status line, which is drawn again below. Never blocks; a closed standard error
/// is ignored.
pub fn say(message: &str) {
    say_always(message);
}

/// Reports the car's state after a drive.
pub fn say_the_end(disarmed: Result<(), pilotage_guard::LinkError>, own_guard: bool) {
    match (disarmed, own_guard) {
        (Ok(()), _) => say("the car is disarmed"),
        (Err(error), true) => say(&format!("{error}; its motors get failsafe")),
        (Err(error), false) => say(&format!("{error}; its service writes failsafe")),
    }
}
