//! A guard in the pilot's process, on the injected clock.

use std::time::Duration;

use pilotage_vehicle::{Command, Fault, Time};

use crate::executor::queue::Queue;
use crate::executor::{Executor, TICK};
use crate::{
    Actuator, ArmRequest, CommandLink, Limits, LinkError, OperatorLink, Refusal, StartError, Status,
};

/// An [`Executor`] in the pilot's process, with the commands that are in flight to it. It advances
/// only when it is called.
///
/// If a pilot hangs for a second of simulated time, this guard catches up afterwards and behaves
/// like a guard in its own process. On a real clock this guard hangs with its pilot. A physical car
/// therefore needs a guard in its own process, which does not keep commands for later.
///
/// A time before [`now`](Self::now) counts as `now`: with a latency longer than a frame period, the
/// pilot's time of one frame is later than the moment of the next frame.
///
/// It does not allocate after the start, except when a write to the actuator fails.
#[derive(Debug)]
pub struct InProcessLink<A> {
    executor: Executor<A>,
    queue: Queue,
    dropped: u64,
}

impl<A: Actuator> InProcessLink<A> {
    /// The default tick.
    pub const TICK: Duration = TICK;

    /// Starts a guard with the tick [`Self::TICK`], and writes the disarmed values.
    ///
    /// # Errors
    /// When the disarmed values cannot be written.
    pub fn start(limits: Limits, actuator: A, now: Time) -> Result<Self, StartError> {
        Self::start_with_tick(limits, actuator, now, Self::TICK)
    }

    /// As [`start`](Self::start), with another tick.
    ///
    /// # Errors
    /// When the tick is under 0.1 ms or no shorter than a frame, or the disarmed values cannot be
    /// written.
    pub fn start_with_tick(
        limits: Limits,
        actuator: A,
        now: Time,
        tick: Duration,
    ) -> Result<Self, StartError> {
        Ok(Self {
            executor: Executor::start(limits, actuator, now, tick)?,
            queue: Queue::default(),
            dropped: 0,
        })
    }

    /// The limits that the policy enforces.
    pub const fn limits(&self) -> &Limits {
        self.executor.limits()
    }

    /// The time that the guard has advanced to.
    pub const fn now(&self) -> Time {
        self.executor.now()
    }

    /// The actuator.
    pub const fn actuator(&self) -> &A {
        self.executor.actuator()
    }

    /// The actuator, to inspect and configure. The caller must not write to it.
    pub const fn actuator_mut(&mut self) -> &mut A {
        self.executor.actuator_mut()
    }

    /// Advances to `target`, or to now if `target` is earlier, and handles the commands in flight when
    /// they arrive.
    /// Returns the guard's time.
    fn advance_with_commands(&mut self, target: Time) -> Time {
        let target = target.max(self.executor.now());
        while let Some((at, command)) = self.queue.pop(target) {
            self.executor.command_before(at, command);
        }
        self.executor.advance(target);
        target
    }

    /// Advances to `now` and discards the commands still in flight, so that a command that was sent
    /// before an operator's request or a fault has no effect after it. Returns the guard's time.
    fn advance_and_discard(&mut self, now: Time) -> Time {
        let now = self.advance_with_commands(now);
        self.queue.clear();
        now
    }
}

fn to_result(refused: Option<Refusal>) -> Result<(), LinkError> {
    refused.map_or(Ok(()), |refusal| Err(LinkError::Refused(refusal)))
}

impl<A: Actuator> OperatorLink for InProcessLink<A> {
    fn arm(&mut self, now: Time, request: ArmRequest) -> Result<(), LinkError> {
        let now = self.advance_and_discard(now);
        to_result(self.executor.arm(now, request))
    }

    fn disarm(&mut self, now: Time) -> Result<(), LinkError> {
        let now = self.advance_and_discard(now);
        self.executor.disarm(now);
        Ok(())
    }

    fn stop(&mut self, now: Time) -> Result<(), LinkError> {
        let now = self.advance_and_discard(now);
        self.executor.stop(now);
        Ok(())
    }
}

impl<A: Actuator> CommandLink for InProcessLink<A> {
    fn report(&mut self, now: Time, fault: Fault) -> Result<(), LinkError> {
        let now = self.advance_and_discard(now);
        self.executor.report(now, fault);
        Ok(())
    }

    fn send_at(&mut self, at: Time, command: Command) -> Result<(), LinkError> {
        if self.queue.push(at.max(self.executor.now()), command) {
            Ok(())
        } else {
            self.dropped += 1;
            Err(LinkError::QueueFull)
        }
    }

    fn advance_to(&mut self, now: Time) -> Result<(), LinkError> {
        self.advance_with_commands(now);
        Ok(())
    }

    fn status(&self) -> Status {
        let mut status = self.executor.status();
        status.counters.dropped = self.dropped;
        status
    }
}
