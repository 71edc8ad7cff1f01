//! What a person with a gamepad says to the guard, on a line of its own each time: a pilot
//! that hangs, or a guard that was started anew, does not come between.

use pilotage_guard::{
    ConnectError, Fault, GuardedCar, Link, SocketLink, StopError, Stopped, monotonic, stop,
};

use crate::guarded::write_failsafe;

/// A person, to a car's guard.
#[derive(Debug, Clone)]
pub struct Person {
    car: GuardedCar,
}

impl Person {
    /// Who speaks to the guard of `car`.
    pub const fn new(car: GuardedCar) -> Self {
        Self { car }
    }

    /// As `pilotage arm`.
    ///
    /// # Errors
    /// When the guard will not, or there is none.
    pub fn arm(&self) -> Result<(), ConnectError> {
        let mut link = SocketLink::connect(&self.car.socket)?;
        Ok(link.arm_pilot()?)
    }

    /// As `pilotage stop`: a guard that does not answer is killed, and failsafe written
    /// without it.
    ///
    /// # Errors
    /// When neither can be done.
    pub fn stop(&self) -> Result<Stopped, StopError> {
        stop(&self.car.file, write_failsafe)
    }

    /// The gamepad is gone: a stop, with that for its reason where the guard answers.
    ///
    /// # Errors
    /// When the car cannot be stopped.
    pub fn lost(&self) -> Result<(), StopError> {
        let told = SocketLink::connect(&self.car.socket)
            .and_then(|mut link| Ok(link.report(monotonic(), Fault::Gamepad)?));
        match told {
            Ok(()) => Ok(()),
            Err(_) => self.stop().map(drop),
        }
    }
}
