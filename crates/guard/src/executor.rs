//! Runs the policy: advances time, writes to the actuator and handles failed writes. It has no
//! thread, clock or socket; [`InProcessLink`](crate::InProcessLink) and [`Server`](crate::Server)
//! drive it.

pub(crate) mod actuator;
pub(crate) mod in_process;
pub(crate) mod queue;

use std::fmt::Write;
use std::time::Duration;

use pilotage_vehicle::{Command, Fault, Time};

use crate::trim::{Point, Value};
use crate::{
    Actuator, ActuatorError, ArmRequest, Counters, Event, FailureText, Interlocks, Limits, Output,
    Refusal, State, Status, step,
};

/// A policy and its actuator. It does not allocate after the start, except when a write fails.
///
/// A request first advances the executor to the time of the request, tick by tick. If a stop is due
/// before that time, the car is stopped at the exact time when it is due.
///
/// A time before the last one means that the clock went back: an armed car is stopped, and the ticks
/// continue on the clock as it is now.
#[derive(Debug)]
pub struct Executor<A> {
    limits: Limits,
    actuator: A,
    tick: Duration,
    now: Time,
    next_tick: Time,
    /// How far the clock has gone back since the start, in all. The actuator's times never
    /// decrease: its retries and checks would otherwise wait until the clock has caught up.
    gone_back: Duration,
    state: State,
    /// The last output that was written to the actuator, even if the write failed.
    output: Output,
    counters: Counters,
    stop_held: bool,
    failure: Option<FailureText>,
}

/// Why a guard did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tick is under 0.1 ms or not shorter than the frame period.
    #[error("the guard's tick must be at least 0.1 ms and shorter than a frame, not {0:?}")]
    Tick(Duration),
    /// The disarmed values could not be written to the actuator.
    #[error(transparent)]
    Actuator(#[from] ActuatorError),
}

/// A disarmed or stopped guard skips ticks that are overdue by more than this, so that it does not
/// hang for a long time after a large jump of the clock.
const LONGEST_CATCH_UP: Duration = Duration::from_secs(60);

const SHORTEST_TICK: Duration = Duration::from_micros(100);

/// The latest time. Later times are clamped to it, so that the next tick is always in the future.
/// It is more than 290 years after the clock's start.
const END_OF_TIME: Time = Time::from_nanos(u64::MAX / 2);

/// The default tick.
pub(crate) const TICK: Duration = Duration::from_millis(5);

impl<A: Actuator> Executor<A> {
    /// Starts at `now` with this tick, and writes the disarmed values.
    ///
    /// # Errors
    /// When the tick is under 0.1 ms or not shorter than the frame period, or the disarmed values
    /// cannot be written.
    pub fn start(
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
            gone_back: Duration::ZERO,
            state: State::Disarmed,
            output: disarmed,
            counters: Counters::default(),
            stop_held: false,
            failure: None,
        })
    }

    /// The limits that the policy enforces.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The time that the executor has advanced to.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// The actuator.
    pub const fn actuator(&self) -> &A {
        &self.actuator
    }

    /// The actuator, to inspect and set up; only the executor writes to it.
    pub const fn actuator_mut(&mut self) -> &mut A {
        &mut self.actuator
    }

    /// The state of the policy and the actuator.
    pub fn status(&self) -> Status {
        Status {
            state: self.state,
            stop_held: self.stop_held,
            failure: self.failure,
            output: self.output,
            counters: self.counters,
            speed: self.actuator.speed(),
        }
    }

    /// When the next tick or stop is due.
    pub fn next_due(&self) -> Time {
        let expiry = self.state.expires(&self.limits);
        expiry.map_or(self.next_tick, |expiry| expiry.min(self.next_tick))
    }

    /// How long to wait at `now` until the next tick or stop is due: at most a tick, even if the
    /// clock has gone back.
    pub fn until_due(&self, now: Time) -> Duration {
        self.next_due().since(now).min(self.tick)
    }

    /// Advances to `target` and runs all ticks and stops that are due by then. If `target` is
    /// earlier than [`now`](Self::now), an armed car is stopped.
    pub fn advance(&mut self, target: Time) {
        self.advance_while(target, |due, target| due <= target);
    }

    /// Advances to `target`, but does not run ticks and stops that are due exactly at `target`: a
    /// command that arrives at the time of a tick is handled before the tick.
    pub(crate) fn advance_before(&mut self, target: Time) {
        self.advance_while(target, |due, target| due < target);
    }

    /// Advances to `target`, and runs ticks and stops while `is_due(time, target)` holds for the time
    /// of the next one.
    fn advance_while(&mut self, target: Time, is_due: fn(Time, Time) -> bool) {
        let target = target.min(END_OF_TIME);
        if target < self.now {
            self.turn_clock_back(target);
        }
        loop {
            self.skip_idle_ticks(target);
            if !is_due(self.next_due(), target) {
                break;
            }
            self.run_next_due();
        }
        self.now = target;
    }

    /// Stops an armed car, as no deadline can be measured by a clock that has gone back to `target`,
    /// and ends the brake.
    fn turn_clock_back(&mut self, target: Time) {
        self.gone_back = self.gone_back.saturating_add(self.now.since(target));
        self.now = target;
        self.next_tick = target + self.tick;
        // Not `target`: it may be later than the last confirmation of a trim value, or than the
        // start of the brake, and the policy would then not see that the clock went back.
        let earliest = Time::ZERO;
        self.enter(step(self.state, &self.limits, earliest, Event::Tick).state);
        self.write(true);
    }

    /// Runs the next due tick or stop.
    fn run_next_due(&mut self) {
        self.now = self.now.max(self.next_due());
        let refresh = self.next_tick <= self.now;
        if refresh {
            self.next_tick = self.next_tick + self.tick;
        }
        self.enter(step(self.state, &self.limits, self.now, Event::Tick).state);
        self.write(refresh);
    }

    /// Skips all missed ticks except the newest. After a slow write the actuator then gets only the
    /// current output, and not one write for each missed tick. Stops are not skipped.
    pub fn skip_missed_ticks(&mut self, now: Time) {
        self.skip_ticks(now.since(self.next_tick));
    }

    fn skip_idle_ticks(&mut self, target: Time) {
        if matches!(self.state, State::Disarmed | State::Stopped { .. }) {
            let excess = target.since(self.next_tick);
            self.skip_ticks(excess.saturating_sub(LONGEST_CATCH_UP));
        }
    }

    fn skip_ticks(&mut self, time: Duration) {
        let ticks = time.as_nanos() / self.tick.as_nanos();
        let skipped = u64::try_from(ticks * self.tick.as_nanos()).unwrap_or(0);
        self.next_tick = self.next_tick + Duration::from_nanos(skipped);
    }

    /// Arms the car for an engine.
    pub fn arm(&mut self, now: Time, request: ArmRequest) -> Option<Refusal> {
        self.advance(now);
        self.decide(Event::Arm(request, self.interlocks()))
    }

    /// Disarms the car.
    pub fn disarm(&mut self, now: Time) {
        self.advance(now);
        self.decide(Event::Disarm);
    }

    /// Stops the car on behalf of an operator.
    pub fn stop(&mut self, now: Time) {
        self.advance(now);
        self.decide(Event::Stop);
    }

    /// Sets whether an operator holds a stop button down. Pressing the button stops the car, which
    /// cannot be armed until the button is released.
    pub fn hold_stop(&mut self, now: Time, held: bool) {
        if held && !self.stop_held {
            self.stop(now);
        }
        self.stop_held = held;
    }

    /// Stops the car for a fault.
    pub fn report(&mut self, now: Time, fault: Fault) {
        self.advance(now);
        self.decide(Event::Fault(fault));
    }

    /// Handles a command that arrived at `now`.
    pub fn command(&mut self, now: Time, command: Command) -> Option<Refusal> {
        self.advance(now);
        self.decide(Event::Command(command))
    }

    /// As [`command`](Self::command), but the command is handled before the ticks and stops that
    /// are due at `now`.
    pub(crate) fn command_before(&mut self, now: Time, command: Command) -> Option<Refusal> {
        self.advance_before(now);
        self.decide(Event::Command(command))
    }

    /// Sets the trim point `point` to `value`, and holds the output there for one deadline.
    pub fn trim(&mut self, now: Time, point: Point, value: Value) -> Option<Refusal> {
        self.advance(now);
        let event = Event::Trim(point.steering(), self.interlocks());
        let refused = step(self.state, &self.limits, self.now, event).refused;
        if refused.is_none() && !self.actuator.trim(point, value) {
            // The actuator does not have this point; nothing is written.
            self.counters.count_refusal(Refusal::NotTrimming);
            return Some(Refusal::NotTrimming);
        }
        let refused = self.decide(event);
        if refused.is_none() {
            // The output may be unchanged, but the pulse for this output has changed.
            self.write(true);
        }
        refused
    }

    const fn interlocks(&self) -> Interlocks {
        Interlocks {
            stop_held: self.stop_held,
            actuator_failed: self.failure.is_some(),
        }
    }

    /// Runs the policy on `event` at the current time, and writes its output to the actuator.
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
        let trimming = |state: &State| matches!(state, State::Trimming(_));
        if trimming(&self.state) && !trimming(&state) {
            self.actuator.end_trim();
        }
        self.state = state;
    }

    /// Writes the output if it has changed, or on a tick (`refresh`) in any case. A failed write is
    /// thus retried at the next tick.
    fn write(&mut self, refresh: bool) {
        let output = self.state.output(&self.limits);
        if !refresh && output == self.output {
            return;
        }
        self.output = output;
        let at = self.now + self.gone_back;
        let Err(error) = self.actuator.write(at, &output) else {
            self.failure = None;
            return;
        };
        let mut text = FailureText::new();
        // A longer reason is truncated.
        let _ = write!(Truncated(&mut text), "{error}");
        self.failure = Some(text);
        self.counters.write_errors += 1;
        let fault = Event::Fault(Fault::Actuator);
        self.enter(step(self.state, &self.limits, self.now, fault).state);
        // The fault has stopped the car if it was armed. The recursion ends after at most one more
        // write, because the output then no longer changes.
        self.write(false);
    }
}

/// Appends as much text as fits.
struct Truncated<'a>(&'a mut FailureText);

impl Write for Truncated<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars() {
            if self.0.try_push(character).is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
