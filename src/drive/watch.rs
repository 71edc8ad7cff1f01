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
    /// The text of the latest fault.
    fault: String,
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

    /// Reports a fault. What a fault names as its cause is left out if it was reported itself.
    pub fn wrong(&mut self, error: &dyn std::error::Error) {
        let text = error.to_string();
        match without_cause(&text, &self.fault) {
            Some(consequence) => self.faults.wrong(consequence, Instant::now(), say),
            None => {
                self.faults.wrong(&text, Instant::now(), say);
                self.fault = text;
            }
        }
    }

    /// Reports with `message` that a fault is over, if there was one.
    pub fn well(&mut self, message: &str) {
        self.faults.well(message, Instant::now(), say);
    }
}

/// The text of a consequence without its `cause`, if it ends with that.
fn without_cause<'a>(text: &'a str, cause: &str) -> Option<&'a str> {
    let consequence = text.strip_suffix(cause)?.strip_suffix(": ")?;
    (!cause.is_empty()).then_some(consequence)
}

/// Writes over the status line, which is drawn again below. Never blocks; a closed standard error
/// is ignored.
pub fn say(message: &str) {
    say_always(message);
}

#[cfg(test)]
mod tests {
    use super::without_cause;

    #[test]
    fn a_cause_that_was_reported_is_left_out() {
        let lost = "the camera is lost and is being opened again: no such device";
        let consequence = "the camera is lost and is being opened again";
        assert_eq!(without_cause(lost, "no such device"), Some(consequence));
        for other in ["", "another device", lost] {
            assert_eq!(without_cause(lost, other), None, "{other}");
        }
    }
}
