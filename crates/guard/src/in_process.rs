//! A guard inside the pilot's process, moved by the injected clock.

use std::time::Duration;

use pilotage_vehicle::{Command, Time};

use crate::queue::Queue;
use crate::{
    Actuator, ActuatorError, ArmRequest, Counters, Event, Fault, Limits, Link, LinkError, Output,
    Refusal, State, Status, step,
};

/// A policy and its actuator, without a thread: they live when time is advanced.
///
/// Each call first runs the guard up to its moment, tick by tick, with the
/// commands delivered at theirs and the stop at the very moment it is due. So a
/// pilot that hangs for a second of simulated time and then lets it catch up
/// gets what a guard beside it would have done. On a real clock a pilot that
/// hangs takes this guard with it: a car that can hurt somebody wants the guard
/// in a process of its own.
///
/// Nothing is allocated after the start.
#[derive(Debug)]
pub struct InProcessLink<A> {
    limits: Limits,
    actuator: A,
    tick: Duration,
    now: Time,
    next_tick: Time,
    state: State,
    /// What the actuator was last given, whether or not it took it.
    output: Output,
    queue: Queue,
    counters: Counters,
    last_error: Option<ActuatorError>,
}

/// Why a guard did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tick is under 0.1 ms or no shorter than a frame.
    #[error("the guard's tick must be at least 0.1 ms and shorter than a frame, not {0:?}")]
    Tick(Duration),
    /// The actuator did not take the disarmed values.
    #[error(transparent)]
    Actuator(#[from] ActuatorError),
}

/// When a settled guard is asked to catch up on more than this, it skips the
/// ticks before: an absurd jump of the clock must not become a hang.
const LONGEST_CATCH_UP: Duration = Duration::from_secs(60);

const SHORTEST_TICK: Duration = Duration::from_micros(100);

/// No clock gets here within 290 years; later moments count as this one, so that
/// the next tick always lies ahead.
const END_OF_TIME: Time = Time::from_nanos(u64::MAX / 2);

impl<A: Actuator> InProcessLink<A> {
    /// The guard's tick unless another is asked for.
    pub const TICK: Duration = Duration::from_millis(5);

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
        mut actuator: A,
        now: Time,
        tick: Duration,
    ) -> Result<Self, StartError> {
        if tick < SHORTEST_TICK || tick >= limits.spec().frame_period {
            return Err(StartError::Tick(tick));
        }
        let disarmed = Output::disarmed(&limits);
        actuator.write(now, &disarmed)?;
        Ok(Self {
            limits,
            actuator,
            tick,
            now: now.min(END_OF_TIME),
            next_tick: now.min(END_OF_TIME) + tick,
            state: State::Disarmed,
            output: disarmed,
            queue: Queue::default(),
            counters: Counters::default(),
            last_error: None,
        })
    }

    /// The limits it keeps.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The moment it has lived up to.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// The actuator.
    pub const fn actuator(&self) -> &A {
        &self.actuator
    }

    /// The actuator, to look at and set up; writing to it is the guard's alone.
    pub const fn actuator_mut(&mut self) -> &mut A {
        &mut self.actuator
    }

    /// What the actuator said when it last did not take a write.
    pub const fn last_error(&self) -> Option<&ActuatorError> {
        self.last_error.as_ref()
    }

    /// Lives up to `target`, then puts `event` to the policy.
    fn put(&mut self, target: Time, event: Event) -> Result<(), LinkError> {
        self.live(target);
        self.decide(event)
            .map_or(Ok(()), |refusal| Err(LinkError::Refused(refusal)))
    }

    fn live(&mut self, target: Time) {
        let target = target.clamp(self.now, END_OF_TIME);
        loop {
            self.skip_idle_ticks(target);
            let due = self.next_due();
            if due > target {
                break;
            }
            self.now = self.now.max(due);
            // Commands before the tick: what has arrived takes effect with it.
            if let Some(command) = self.queue.pop(self.now) {
                self.decide(Event::Command(command));
                continue;
            }
            let refresh = self.next_tick <= self.now;
            if refresh {
                self.next_tick = self.next_tick + self.tick;
            }
            self.enter(step(self.state, &self.limits, self.now, Event::Tick).state);
            self.write(refresh);
        }
        self.now = target;
    }

    /// Leaves out the ticks that the clock has overtaken, all but the newest: a bus that was
    /// slow for a while is told what holds now, not what it missed. Stops and commands are
    /// not left out.
    pub fn overtake(&mut self, now: Time) {
        let missed = now.since(self.next_tick).as_nanos() / self.tick.as_nanos();
        let skipped = u64::try_from(missed * self.tick.as_nanos()).unwrap_or(0);
        self.next_tick = self.next_tick + Duration::from_nanos(skipped);
    }

    /// When something next happens by itself: a tick, a stop, a command that is due.
    pub fn next_due(&self) -> Time {
        let expiry = self.state.expires(&self.limits);
        [expiry, self.queue.next()]
            .into_iter()
            .flatten()
            .fold(self.next_tick, Time::min)
    }

    fn skip_idle_ticks(&mut self, target: Time) {
        let idle = matches!(self.state, State::Disarmed | State::Stopped { .. });
        if idle && self.queue.next().is_none() {
            let excess = target
                .since(self.next_tick)
                .saturating_sub(LONGEST_CATCH_UP);
            let ticks = excess.as_nanos() / self.tick.as_nanos();
            let skipped = u64::try_from(ticks * self.tick.as_nanos()).unwrap_or(0);
            self.next_tick = self.next_tick + Duration::from_nanos(skipped);
        }
    }

    /// Puts `event` to the policy at the present moment and its output to the actuator.
    fn decide(&mut self, event: Event) -> Option<Refusal> {
        let step = step(self.state, &self.limits, self.now, event);
        match step.refused {
            Some(refusal) => self.counters.count_refusal(refusal),
            None if matches!(event, Event::Command(_)) => self.counters.accepted += 1,
            None => {}
        }
        self.enter(step.state);
        self.write(false);
        step.refused
    }

    fn enter(&mut self, state: State) {
        if self.state.stopped().is_none() && state.stopped().is_some() {
            self.counters.stops += 1;
        }
        self.state = state;
    }

    /// Writes what has changed, or, on a tick (`refresh`), whatever is in force:
    /// that is also how a failed write is tried again.
    fn write(&mut self, refresh: bool) {
        let output = self.state.output(&self.limits);
        if !refresh && output == self.output {
            return;
        }
        self.output = output;
        let Err(error) = self.actuator.write(self.now, &output) else {
            return;
        };
        self.last_error = Some(error);
        self.counters.write_errors += 1;
        let fault = Event::Fault(Fault::Actuator);
        self.enter(step(self.state, &self.limits, self.now, fault).state);
        // A car that was armed is stopped by this, so it ends after one more try.
        self.write(false);
    }
}

impl<A: Actuator> Link for InProcessLink<A> {
    fn arm(&mut self, now: Time, request: ArmRequest) -> Result<(), LinkError> {
        self.put(now, Event::Arm(request))
    }

    fn disarm(&mut self, now: Time) -> Result<(), LinkError> {
        self.put(now, Event::Disarm)
    }

    fn stop(&mut self, now: Time) -> Result<(), LinkError> {
        self.put(now, Event::Stop)
    }

    fn report(&mut self, now: Time, fault: Fault) -> Result<(), LinkError> {
        self.put(now, Event::Fault(fault))
    }

    fn send_at(&mut self, at: Time, command: Command) -> Result<(), LinkError> {
        if self.queue.push(at.max(self.now), command) {
            Ok(())
        } else {
            self.counters.dropped += 1;
            Err(LinkError::QueueFull)
        }
    }

    fn advance_to(&mut self, now: Time) -> Result<(), LinkError> {
        self.live(now);
        Ok(())
    }

    fn status(&self) -> Status {
        Status {
            state: self.state,
            output: self.output,
            counters: self.counters,
        }
    }
}
