//! What a person at a real car's drive is told.

use pilotage_guard::{State, StopReason};

/// Says each change once.
#[derive(Default)]
pub struct Watch {
    state: Option<std::mem::Discriminant<State>>,
    reason: Option<StopReason>,
    wrong: Option<String>,
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
        let text = error.to_string();
        if self.wrong.as_ref() != Some(&text) {
            say(&text);
            self.wrong = Some(text);
        }
    }

    /// Nothing is; `but` is said where something was.
    pub fn well(&mut self, but: &str) {
        if self.wrong.take().is_some() {
            say(but);
        }
    }
}

/// Over the live line, which starts anew behind it.
pub fn say(what: &str) {
    use std::io::IsTerminal;
    let clear = match std::io::stderr().is_terminal() {
        true => "\r\x1b[2K",
        false => "",
    };
    eprintln!("{clear}{what}");
}

/// However a drive ended, this is what became of the car.
pub fn say_the_end(told: Result<(), pilotage_guard::LinkError>, own_guard: bool) {
    match (told, own_guard) {
        (Ok(()), _) => eprintln!("the car is disarmed"),
        (Err(error), true) => eprintln!("{error}; its motors get failsafe"),
        (Err(error), false) => eprintln!("{error}; its service writes failsafe"),
    }
}
