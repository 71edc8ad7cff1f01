//! Messages to the operator during a drive.

use std::time::Instant;

use pilotage_console::{FaultReports, say_always};
use pilotage_guard::{Braking, State, StopReason};

/// Reports each change once, and a recurring fault from time to time with a count. By default it
/// reports no states: an engine's simulated drive ends with the first stop.
#[derive(Default)]
pub struct Watch {
    /// What arms the car, and what stops it.
    means: Option<(&'static str, &'static str)>,
    state: Option<std::mem::Discriminant<State>>,
    reason: Option<StopReason>,
    faults: FaultReports,
}

impl Watch {
    /// Reports states; `arms` arms the car, and `stops` stops it.
    pub fn naming(arms: &'static str, stops: &'static str) -> Self {
        Self {
            means: Some((arms, stops)),
            ..Self::default()
        }
    }

    /// Reports the guard's state.
    pub fn state(&mut self, state: State) {
        let Some((arms, stops)) = self.means else {
            return;
        };
        let kind = std::mem::discriminant(&state);
        if (self.state, self.reason) == (Some(kind), state.stopped()) {
            return;
        }
        (self.state, self.reason) = (Some(kind), state.stopped());
        match state {
            State::Disarmed => say(&format!("disarmed: {arms} arms the car")),
            State::Armed(_) => say("armed"),
            State::Driving(_) => say(&format!("driving; {stops} stops the car")),
            State::Trimming(_) => say("being trimmed"),
            State::Stopped { reason } | State::Braking(Braking { reason, .. }) => {
                say(&format!("stopped: {reason}; {arms} arms the car again"));
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
