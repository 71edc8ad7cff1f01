//! What the operator of a real car's drive is told.

use std::time::Instant;

use pilotage_console::{FaultReports, say_always};
use pilotage_guard::{State, StopReason};

/// Says each change once, and a fault that comes and goes now and then with a count.
#[derive(Default)]
pub struct Watch {
    state: Option<std::mem::Discriminant<State>>,
    reason: Option<StopReason>,
    faults: FaultReports,
}

impl Watch {
    /// Where the guard stands.
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

    /// What is wrong.
    pub fn wrong(&mut self, error: &dyn std::error::Error) {
        self.faults.wrong(&error.to_string(), Instant::now(), say);
    }

    /// Nothing is; `but` is said where something was.
    pub fn well(&mut self, but: &str) {
        self.faults.well(but, Instant::now(), say);
    }
}

/// Over the live line, which starts anew behind it. Never blocks, and a closed standard error
/// is no error.
pub fn say(what: &str) {
    say_always(what);
}

/// However a drive ended, this is what became of the car.
pub fn say_the_end(told: Result<(), pilotage_guard::LinkError>, own_guard: bool) {
    match (told, own_guard) {
        (Ok(()), _) => say("the car is disarmed"),
        (Err(error), true) => say(&format!("{error}; its motors get failsafe")),
        (Err(error), false) => say(&format!("{error}; its service writes failsafe")),
    }
}
