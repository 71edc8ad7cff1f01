//! What an operator with a gamepad asks of the guard, on a connection of its own each time: a
//! pilot that hangs, or a guard that was restarted, does not come between.

use pilotage_guard::{
    ConnectError, Fault, GuardedCar, Link, SocketLink, StopError, Stopped, monotonic, stop,
};

/// An operator's requests to a car's guard.
#[derive(Debug)]
pub struct Operator {
    car: GuardedCar,
}

impl Operator {
    /// The operator of `car`.
    pub const fn new(car: GuardedCar) -> Self {
        Self { car }
    }

    /// As `pilotage arm`.
    ///
    /// # Errors
    /// When the guard refuses, or there is none.
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
        stop(&self.car)
    }

    /// The stop button's level has changed. Held, it stops the car as [`stop`](Self::stop)
    /// does, and nothing arms until it is released.
    ///
    /// # Errors
    /// When the car cannot be stopped.
    pub fn hold_stop(&mut self, held: bool) -> Result<(), StopError> {
        // The lead connects this to SocketLink::hold_stop.
        match held {
            true => self.stop().map(drop),
            false => Ok(()),
        }
    }

    /// The gamepad is gone: a stop, with that for its reason where the guard answers.
    ///
    /// # Errors
    /// When the car cannot be stopped.
    pub fn lost(&self) -> Result<(), StopError> {
        let reported = SocketLink::connect(&self.car.socket)
            .and_then(|mut link| Ok(link.report(monotonic(), Fault::Gamepad)?));
        match reported {
            Ok(()) => Ok(()),
            Err(_) => stop(&self.car).map(drop),
        }
    }
}
