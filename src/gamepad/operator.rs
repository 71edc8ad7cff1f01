//! What an operator with a gamepad asks of the guard, on a connection of its own each time: a
//! pilot that hangs, or a guard that was restarted, does not come between.

use pilotage_guard::{
    ConnectError, Fault, GuardedCar, Link, SocketLink, StopError, Stopped, monotonic, stop,
};

use crate::guarded::write_failsafe;

/// An operator's requests to a car's guard.
#[derive(Debug)]
pub struct Operator {
    /// Holds the stop while the button is down: the guard releases it with the connection.
    holding: Option<SocketLink>,
    car: GuardedCar,
}

impl Operator {
    /// The operator of `car`.
    pub const fn new(car: GuardedCar) -> Self {
        Self { holding: None, car }
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
        stop(&self.car.file, write_failsafe)
    }

    /// The stop button's level has changed. Held, it stops the car as [`stop`](Self::stop)
    /// does, and nothing arms until it is released.
    ///
    /// # Errors
    /// When the car cannot be stopped.
    pub fn hold_stop(&mut self, held: bool) -> Result<(), StopError> {
        if !held {
            if let Some(mut link) = self.holding.take() {
                // The end of the connection releases it too.
                let _ = link.hold_stop(false);
            }
            return Ok(());
        }
        let holding = SocketLink::connect(&self.car.socket).and_then(|mut link| {
            link.hold_stop(true)?;
            Ok(link)
        });
        match holding {
            Ok(link) => {
                self.holding = Some(link);
                Ok(())
            }
            // Without a guard that answers the car is stopped, and there is nothing to arm.
            Err(_) => self.stop().map(drop),
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
            Err(_) => self.stop().map(drop),
        }
    }
}
