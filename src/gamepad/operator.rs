//! The requests of an operator with a gamepad to the guard. Each uses a connection of its own, so
//! that a hanging pilot or a restarted guard does not interfere.

use std::time::Duration;

use pilotage_guard::{ConnectError, GuardedCar, Link, SocketLink, StopError, Stopped, stop};

use pilotage_vehicle::{Fault, Time, monotonic};

use crate::guarded::write_failsafe;

/// An operator's requests to a car's guard.
#[derive(Debug)]
pub struct Operator {
    /// Holds the stop while the button is down: the guard releases the stop with the connection.
    holding: Option<SocketLink>,
    /// The time of the latest attempt to hold.
    tried: Time,
    car: GuardedCar,
}

/// The interval between attempts to hold a stop while the button is down.
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
    /// Fails if the guard refuses, or if there is none.
    pub fn arm(&self) -> Result<(), ConnectError> {
        let mut link = SocketLink::connect(&self.car.socket)?;
        Ok(link.arm_pilot()?)
    }

    /// As `pilotage stop`: a guard that does not answer is killed, and failsafe is written without
    /// it.
    ///
    /// # Errors
    /// Fails if neither is possible.
    pub fn stop(&self) -> Result<Stopped, StopError> {
        stop(&self.car.file, write_failsafe)
    }

    /// Sets the stop button's level. A held button stops the car as [`stop`](Self::stop) does, and
    /// nothing arms until it is released.
    ///
    /// # Errors
    /// Fails if the car cannot be stopped.
    pub fn hold_stop(&mut self, held: bool) -> Result<(), StopError> {
        if !held {
            if let Some(mut link) = self.holding.take() {
                // The end of the connection releases the stop too.
                let _ = link.hold_stop(false);
            }
            return Ok(());
        }
        match self.try_hold() {
            Ok(()) => Ok(()),
            // No guard answers: stop the car; `keep_holding` holds the stop of the next guard.
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

    /// Must be called while the stop button is down: if the guard was restarted, or has closed the
    /// connection, the stop is held again.
    pub fn keep_holding(&mut self) {
        let lost = self.holding.as_ref().is_none_or(SocketLink::is_gone);
        if lost && monotonic().since(self.tried) >= AGAIN {
            // The next call tries again.
            let _ = self.try_hold();
        }
    }

    /// The gamepad is gone: stops the car. If the guard answers, the lost gamepad is the stop's
    /// reason.
    ///
    /// # Errors
    /// Fails if the car cannot be stopped.
    pub fn lost(&self) -> Result<(), StopError> {
        let reported = SocketLink::connect(&self.car.socket)
            .and_then(|mut link| Ok(link.report(monotonic(), Fault::Gamepad)?));
        match reported {
            Ok(()) => Ok(()),
            Err(_) => self.stop().map(drop),
        }
    }
}
