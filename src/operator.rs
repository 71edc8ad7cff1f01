//! An operator with a gamepad: the requests to the guard that its buttons make.

mod button_actions;
mod buttons;

use std::time::Duration;

use pilotage_guard::{
    CommandLink, ConnectError, GuardedCar, LinkError, OperatorLink, SocketLink, StopError, stop,
};
use pilotage_vehicle::{Fault, Time, monotonic};

use crate::guarded::write_failsafe;

pub use button_actions::ButtonActions;
pub use buttons::Buttons;

/// How an operator's requests reach a guard.
pub trait Requests {
    /// Arms the car, as `pilotage arm`.
    ///
    /// # Errors
    /// Fails if the guard refuses, or if there is none.
    fn arm(&mut self) -> Result<(), RequestError>;

    /// Stops the car.
    ///
    /// # Errors
    /// Fails if the car cannot be stopped.
    fn stop(&mut self) -> Result<(), RequestError>;

    /// Sets whether the stop button is held. A held button stops the car as [`stop`](Self::stop) does, and
    /// nothing arms until it is released.
    ///
    /// # Errors
    /// Fails if the car cannot be stopped.
    fn hold_stop(&mut self, held: bool) -> Result<(), RequestError>;

    /// Must be called while the stop button is down, so that a restarted guard holds the stop too.
    fn keep_holding(&mut self) {}

    /// The gamepad is gone: stops the car. If the guard answers, the lost gamepad is the stop's
    /// reason.
    ///
    /// # Errors
    /// Fails if the car cannot be stopped.
    fn lost(&mut self) -> Result<(), RequestError>;
}

/// Why a request had no effect.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The guard refused, or does not answer.
    #[error(transparent)]
    Guard(#[from] LinkError),
    /// No guard can be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The car cannot be stopped.
    #[error(transparent)]
    Stop(#[from] StopError),
}

/// An operator of the simulated car, whose guard has only the pilot's connection.
impl Requests for SocketLink {
    fn arm(&mut self) -> Result<(), RequestError> {
        Ok(self.arm_pilot()?)
    }

    fn stop(&mut self) -> Result<(), RequestError> {
        Ok(OperatorLink::stop(self, monotonic())?)
    }

    fn hold_stop(&mut self, held: bool) -> Result<(), RequestError> {
        Ok(Self::hold_stop(self, held)?)
    }

    fn lost(&mut self) -> Result<(), RequestError> {
        Ok(self.report(monotonic(), Fault::Gamepad)?)
    }
}

/// An operator of a physical or dry-running car. Each request uses a connection of its own, so that
/// a hanging pilot or a restarted guard does not interfere.
#[derive(Debug)]
pub struct Operator {
    /// Holds the stop while the button is down: the guard releases the stop with the connection.
    holding: Option<SocketLink>,
    /// The time of the latest attempt to hold.
    tried: Time,
    car: GuardedCar,
}

/// The interval at which a lost gamepad is searched for.
pub const SEARCH_INTERVAL: Duration = Duration::from_millis(500);
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

    fn try_hold(&mut self) -> Result<(), ConnectError> {
        self.tried = monotonic();
        let mut link = SocketLink::connect(&self.car.socket)?;
        link.hold_stop(true)?;
        self.holding = Some(link);
        Ok(())
    }
}

impl Requests for Operator {
    fn arm(&mut self) -> Result<(), RequestError> {
        let mut link = SocketLink::connect(&self.car.socket)?;
        Ok(link.arm_pilot()?)
    }

    /// As `pilotage stop`: a guard that does not answer is killed, and failsafe is written without
    /// it.
    fn stop(&mut self) -> Result<(), RequestError> {
        stop(&self.car.file, write_failsafe)?;
        Ok(())
    }

    fn hold_stop(&mut self, held: bool) -> Result<(), RequestError> {
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
            Err(_) => self.stop(),
        }
    }

    fn keep_holding(&mut self) {
        let lost = self.holding.as_ref().is_none_or(SocketLink::is_gone);
        if lost && monotonic().since(self.tried) >= AGAIN {
            // The next call tries again.
            let _ = self.try_hold();
        }
    }

    fn lost(&mut self) -> Result<(), RequestError> {
        let reported = SocketLink::connect(&self.car.socket)
            .and_then(|mut link| Ok(link.report(monotonic(), Fault::Gamepad)?));
        match reported {
            Ok(()) => Ok(()),
            Err(_) => self.stop(),
        }
    }
}

impl Drop for Operator {
    /// A thread that panics while it owns an operator's buttons is treated as a lost gamepad.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.lost();
        }
    }
}
