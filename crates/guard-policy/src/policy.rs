//! The guard's policy: how each event changes the guard's state.

use pilotage_vehicle::{Command, Domain, Fault, Time};

use crate::{Armed, Braking, Driving, Limits, Motion, Output, State, StopReason, Trimming};

/// An operator's request to let the car drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArmRequest {
    /// Where the engine that will drive was trained.
    pub engine: Domain,
}

/// Conditions that keep a car from being armed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Interlocks {
    /// An operator holds a stop button down.
    pub stop_held: bool,
    /// Writes to the actuator fail.
    pub actuator_failed: bool,
}

/// What can happen to a guard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// Time passed.
    Tick,
    /// An operator arms the car.
    Arm(ArmRequest, Interlocks),
    /// An operator disarms the car.
    Disarm,
    /// An operator stops the car.
    Stop,
    /// The pilot sends a command.
    Command(Command),
    /// A component of the car failed.
    Fault(Fault),
    /// An operator trims the servo's centre and ends: the steering channel is held at this value
    /// (-1 to 1), and the throttle at 0, for one deadline.
    Trim(f32, Interlocks),
}

/// Why a guard refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// A command while disarmed or stopped.
    #[error("the car is not armed")]
    NotArmed,
    /// A command with a NaN or an infinity.
    #[error("the command is not a number")]
    NotFinite,
    /// A command outside -1..=1.
    #[error("the command lies outside -1 to 1")]
    OutOfRange,
    /// A command whose frame is older than the limit.
    #[error("the command is too old")]
    TooOld,
    /// A command whose capture time is in the future.
    #[error("the command comes from the future")]
    FromFuture,
    /// A command whose frame was captured before the car was armed.
    #[error("the command's frame was captured before the car was armed")]
    BeforeArming,
    /// A command whose sequence number does not increase.
    #[error("the command was seen before")]
    Replayed,
    /// An arm request while armed or driving.
    #[error("the car is armed already")]
    AlreadyArmed,
    /// An arm request for a simulator's engine on a physical actuator.
    #[error("an engine trained in the simulator must not drive a physical car")]
    SimulatedEngine,
    /// An arm request while no pilot is connected.
    #[error("there is no pilot to drive: start `pilotage drive` first")]
    NoPilot,
    /// A second program that declares itself as the pilot.
    #[error("another pilot is connected")]
    NotThePilot,
    /// A pilot of another car, or with another car.toml.
    #[error("pilot and guard are not of the same car")]
    OtherCar,
    /// An arm request for another engine than the connected pilot's.
    #[error("the connected pilot drives with another engine than the arm request names")]
    OtherEngine,
    /// An arm request of a pilot for a physical car.
    #[error("a pilot does not arm a physical car: `pilotage arm` or the gamepad's button does")]
    PilotArms,
    /// An arm request while an operator holds a stop button.
    #[error("a stop button is held: release it, then arm")]
    StopHeld,
    /// An arm request while writes to the actuator fail.
    #[error("the motors do not take commands (`pilotage status` shows why)")]
    ActuatorFailed,
    /// A trim value while the car is armed or stopped, or for a point that the actuator does not
    /// have.
    #[error("the car is armed or stopped: `pilotage disarm` first, then trim")]
    NotTrimming,
}

impl Refusal {
    /// All refusals, in the order of their declaration.
    pub const ALL: [Self; 17] = [
        Self::NotArmed,
        Self::NotFinite,
        Self::OutOfRange,
        Self::TooOld,
        Self::FromFuture,
        Self::BeforeArming,
        Self::Replayed,
        Self::AlreadyArmed,
        Self::SimulatedEngine,
        Self::NoPilot,
        Self::NotThePilot,
        Self::OtherCar,
        Self::OtherEngine,
        Self::PilotArms,
        Self::StopHeld,
        Self::ActuatorFailed,
        Self::NotTrimming,
    ];
}

/// What [`step`] decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The guard's state after the event.
    pub state: State,
    /// The output to write to the motors now.
    pub output: Output,
    /// Why the event was refused, if it was.
    pub refused: Option<Refusal>,
}

/// The guard's whole policy. `now` is the time of `event`, on the clock of the commands' capture
/// times.
///
/// A state that has expired is stopped before the event is handled, so a late event cannot revive
/// it. A refused command does not extend the deadline of the last good command.
///
/// The caller passes the state of the previous step, runs this function at the latest when
/// [`State::expires`] says so, and writes the output each time. `now` is expected not to decrease; if
/// it does, the car is stopped. No input causes a panic.
pub fn step(state: State, limits: &Limits, now: Time, event: Event) -> Step {
    let state = expire(state, limits, now);
    let outcome = match event {
        Event::Tick => Ok(state),
        Event::Arm(request, interlocks) => arm(state, limits, now, request, interlocks),
        Event::Disarm => Ok(State::Disarmed),
        Event::Stop => Ok(stop(state, limits, now, StopReason::Operator)),
        Event::Fault(fault) => Ok(stop(state, limits, now, StopReason::Fault(fault))),
        Event::Command(command) => accept(state, limits, now, command),
        Event::Trim(steering, interlocks) => trim(state, now, steering, interlocks),
    };
    let (state, refused) = match outcome {
        Ok(state) => (state, None),
        Err(refusal) => (state, Some(refusal)),
    };
    let state = advance(state, limits, now);
    Step {
        state,
        output: state.output(limits),
        refused,
    }
}

/// Stops the car if its deadline has passed, or if the clock went backwards. Releases the brake when
/// its time is over, or cannot be measured.
fn expire(state: State, limits: &Limits, now: Time) -> State {
    let (seen, reason) = match state {
        State::Armed(armed) => (armed.seen, StopReason::NoFirstCommand),
        State::Driving(driving) => (driving.seen, StopReason::Deadline),
        State::Trimming(trimming) => (trimming.confirmed, StopReason::Deadline),
        State::Braking(Braking { began, reason }) => {
            let over = state.expires(limits).is_none_or(|moment| now >= moment);
            return match now < began || over {
                true => State::Stopped { reason },
                false => state,
            };
        }
        State::Disarmed | State::Stopped { .. } => return state,
    };
    if now < seen {
        stop(state, limits, now, StopReason::ClockWentBack)
    } else if state.expires(limits).is_some_and(|moment| now >= moment) {
        stop(state, limits, now, reason)
    } else {
        state
    }
}

/// Keeps the first reason. A disarmed guard stays disarmed. A car that is driving ahead brakes first.
fn stop(state: State, limits: &Limits, now: Time, reason: StopReason) -> State {
    // The brake ends by the clock and takes a write, so it needs both.
    let unbraked = matches!(
        reason,
        StopReason::ClockWentBack | StopReason::Fault(Fault::Actuator)
    );
    match state {
        State::Driving(driving)
            if driving.throttle.value > 0.0 && !unbraked && !limits.spec().brake.is_zero() =>
        {
            State::Braking(Braking { began: now, reason })
        }
        State::Armed(_) | State::Driving(_) | State::Trimming(_) => State::Stopped { reason },
        // A further stop changes nothing; a fault that needs the brake released releases it.
        State::Braking(Braking { reason, .. }) if unbraked => State::Stopped { reason },
        State::Disarmed | State::Braking(_) | State::Stopped { .. } => state,
    }
}

fn arm(
    state: State,
    limits: &Limits,
    now: Time,
    request: ArmRequest,
    interlocks: Interlocks,
) -> Result<State, Refusal> {
    match state {
        State::Armed(_) | State::Driving(_) | State::Trimming(_) => {
            return Err(Refusal::AlreadyArmed);
        }
        State::Disarmed | State::Braking(_) | State::Stopped { .. } => {}
    }
    if interlocks.stop_held {
        return Err(Refusal::StopHeld);
    }
    if interlocks.actuator_failed {
        return Err(Refusal::ActuatorFailed);
    }
    if (request.engine, limits.spec().actuator) == (Domain::Simulated, Domain::Physical) {
        return Err(Refusal::SimulatedEngine);
    }
    Ok(State::Armed(Armed {
        armed: now,
        seen: now,
    }))
}

fn trim(state: State, now: Time, steering: f32, interlocks: Interlocks) -> Result<State, Refusal> {
    if interlocks.stop_held {
        return Err(Refusal::StopHeld);
    }
    if !(-1.0..=1.0).contains(&steering) {
        return Err(Refusal::OutOfRange);
    }
    match state {
        // A stop ends trimming. It can begin again only after an operator disarms the car.
        State::Armed(_) | State::Driving(_) | State::Braking(_) | State::Stopped { .. } => {
            Err(Refusal::NotTrimming)
        }
        State::Disarmed | State::Trimming(_) => Ok(State::Trimming(Trimming {
            confirmed: now,
            steering,
        })),
    }
}

fn accept(state: State, limits: &Limits, now: Time, command: Command) -> Result<State, Refusal> {
    let (armed, seen, last, output) = match state {
        State::Armed(Armed { armed, seen }) => (armed, seen, None, state.output(limits)),
        State::Driving(Driving {
            armed,
            seen,
            sequence,
            ..
        }) => (armed, seen, Some(sequence), state.output(limits)),
        State::Disarmed | State::Braking(_) | State::Stopped { .. } | State::Trimming(_) => {
            return Err(Refusal::NotArmed);
        }
    };
    let spec = limits.spec();
    check_values(&command)?;
    if command.captured > now {
        return Err(Refusal::FromFuture);
    }
    if now.since(command.captured) > spec.max_age {
        return Err(Refusal::TooOld);
    }
    // Every frame from before this arming is refused, so each pilot may start its sequence at any
    // number.
    if command.captured < armed {
        return Err(Refusal::BeforeArming);
    }
    if last.is_some_and(|last| command.sequence <= last) {
        return Err(Refusal::Replayed);
    }
    Ok(State::Driving(Driving {
        armed,
        seen,
        accepted: now,
        sequence: command.sequence,
        steering: Motion {
            value: output.steering,
            target: spec.steering.limit(command.steering),
        },
        throttle: Motion {
            value: output.throttle,
            target: spec.throttle.limit(command.throttle),
        },
    }))
}

fn check_values(command: &Command) -> Result<(), Refusal> {
    let values = [command.steering, command.throttle];
    if !values.iter().all(|value| value.is_finite()) {
        return Err(Refusal::NotFinite);
    }
    if !values.iter().all(|value| (-1.0..=1.0).contains(value)) {
        return Err(Refusal::OutOfRange);
    }
    Ok(())
}

/// Moves the channels towards their targets, up to `now`.
fn advance(state: State, limits: &Limits, now: Time) -> State {
    let spec = limits.spec();
    match state {
        State::Armed(Armed { armed, .. }) => State::Armed(Armed { armed, seen: now }),
        State::Driving(mut driving) => {
            let elapsed = now.since(driving.seen);
            for (motion, channel) in [
                (&mut driving.steering, &spec.steering),
                (&mut driving.throttle, &spec.throttle),
            ] {
                motion.value = channel.approach(motion.value, motion.target, elapsed);
            }
            driving.seen = now;
            State::Driving(driving)
        }
        State::Disarmed | State::Braking(_) | State::Stopped { .. } | State::Trimming(_) => state,
    }
}
