//! A guard inside the pilot's process, moved by the injected clock.

use std::time::Duration;

use pilotage_vehicle::{Command, Time};

use crate::executor::{Executor, TICK};
use crate::queue::Queue;
use crate::{Actuator, ArmRequest, Fault, Limits, Link, LinkError, Refusal, StartError, Status};

/// An [`Executor`] and the commands that are in flight to it, in the pilot's process: it
/// advances when a call says so.
///
/// So a pilot that hangs for a second of simulated time and then lets it catch up gets what
/// a guard beside it would have done. On a real clock a pilot that hangs takes this guard
/// with it: a car that can hurt somebody needs the guard in a process of its own, which
/// keeps no commands for later.
///
/// Nothing is allocated after the start.
#[derive(Debug)]
pub struct InProcessLink<A> {
    executor: Executor<A>,
    queue: Queue,
    dropped: u64,
}

impl<A: Actuator> InProcessLink<A> {
    /// The guard's tick unless another is asked for.
    pub const TICK: Duration = TICK;

    /// Starts a guard that ticks every [`Self::TICK`]; its first act is to write
    /// the disarmed values.
    ///
    /// # Errors
    /// When the actuator does not take them.
    pub fn start(limits: Limits, actuator: A, now: Time) -> Result<Self, StartError> {
        Self::start_with_tick(limits, actuator, now, Self::TICK)
    }

    /// The same with another tick.
    ///
    /// # Errors
    /// When the tick is under 0.1 ms or no shorter than a frame, or the actuator does not
    /// take the disarmed values.
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

    /// The limits it keeps.
    pub const fn limits(&self) -> &Limits {
        self.executor.limits()
    }

    /// The moment it has advanced to.
    pub const fn now(&self) -> Time {
        self.executor.now()
    }

    /// The actuator.
    pub const fn actuator(&self) -> &A {
        self.executor.actuator()
    }

    /// The actuator, to look at and set up; writing to it is the guard's alone.
    pub const fn actuator_mut(&mut self) -> &mut A {
        self.executor.actuator_mut()
    }

    /// Advances to `target`, with the commands at the moments they arrive.
    fn live(&mut self, target: Time) {
        let target = target.max(self.executor.now());
        while let Some((at, command)) = self.queue.pop(target) {
            self.executor.command_before(at, command);
        }
        self.executor.advance(target);
    }

    /// Advances to `now` and forgets the commands in flight: none that was sent before an
    /// operator's request or a fault acts after it.
    fn settle(&mut self, now: Time) {
        self.live(now);
        self.queue.clear();
    }
}

fn answer(refused: Option<Refusal>) -> Result<(), LinkError> {
    refused.map_or(Ok(()), |refusal| Err(LinkError::Refused(refusal)))
}

impl<A: Actuator> Link for InProcessLink<A> {
    fn arm(&mut self, now: Time, request: ArmRequest) -> Result<(), LinkError> {
        self.settle(now);
        answer(self.executor.arm(now, request))
    }

    fn disarm(&mut self, now: Time) -> Result<(), LinkError> {
        self.settle(now);
        self.executor.disarm(now);
        Ok(())
    }

    fn stop(&mut self, now: Time) -> Result<(), LinkError> {
        self.settle(now);
        self.executor.stop(now);
        Ok(())
    }

    fn report(&mut self, now: Time, fault: Fault) -> Result<(), LinkError> {
        self.settle(now);
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
        self.live(now);
        Ok(())
    }

    fn status(&self) -> Status {
        let mut status = self.executor.status();
        status.counters.dropped = self.dropped;
        status
    }
}
