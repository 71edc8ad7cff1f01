//! What an operator with a gamepad asks of the guard, on a connection of its own each time: a
//! pilot that hangs, or a guard that was restarted, does not come between.

use std::time::Duration;

use pilotage_guard::{
    ConnectError, Fault, GuardedCar, Link, SocketLink, StopError, Stopped, monotonic, stop,
};

use pilotage_vehicle::Time;

use crate::guarded::write_failsafe;

/// An operator's requests to a car's guard.
#[derive(Debug)]
pub struct Operator {
    /// Holds the stop while the button is down: the guard releases it with the connection.
    holding: Option<SocketLink>,
    /// When that was last tried.
    tried: Time,
    car: GuardedCar,
}

/// A stop that is not held, with the button down, is tried to be held again after this.
const AGAIN: Duration = Duration::from_millis(100);

impl Operator {
    /// The operator of `car`.
    pub const fn new(car: GuardedCar) -> Self {
        Self {
            holding: None,
            tried: Time::ZERO,
            car,
        }
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
        match self.try_hold() {
            Ok(()) => Ok(()),
            // Without a guard that answers the car is stopped; the next guard's stop is held.
            Err(_) => self.stop().map(drop),
        }
    }

    fn try_hold(&mut self) -> Result<(), ConnectError> {
        self.tried = monotonic();
        let mut link = SocketLink::connect(&self.car.socket)?;
        link.hold_stop(true)?;
        self.holding = Some(link);
        Ok(())
    }

    /// The stop button is still down: where the guard was restarted, or has closed the
    /// connection, the stop is held again.
    pub fn keep_holding(&mut self) {
        let lost = self.holding.as_ref().is_none_or(SocketLink::is_gone);
        if lost && monotonic().since(self.tried) >= AGAIN {
            // It is tried again in a moment.
            let _ = self.try_hold();
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
