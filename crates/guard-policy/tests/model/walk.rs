//! The guard as a stateright model, and the properties that it must have.

use std::hash::{Hash, Hasher};

use pilotage_guard_policy::{
    Armed, Braking, Driving, Event, Limits, Mode, Output, State, Step, StopReason, Trimming,
};
use pilotage_vehicle::Time;
use stateright::{Model, Property};

use crate::actions::{
    ACTUATOR_DELAY, AGE_LIMIT, Action, BRAKE, CLASSES, DEADLINE, FIRST_COMMAND, NOW, SEQUENCE,
    TICK, TRIMMED, ago, limits,
};

/// The state that the guard must be in, derived only from the requests and the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Witness {
    /// Not armed since the start or the last disarm.
    Disarmed,
    /// Armed this many ticks ago, and not stopped since.
    Armed { ago: u8 },
    /// A trim value was confirmed this many ticks ago, and the car was not stopped since.
    Trimming { ago: u8 },
    /// Stopped since it was armed.
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct World {
    policy: State,
    witness: Witness,
    /// Ticks since the last good command after the last arming.
    good: Option<u8>,
    /// Ticks since a stop of the car while it drove ahead, fewer than it brakes.
    braking: Option<u8>,
    /// The last output, the ticks between the last two writes, and the output before the last.
    output: Output,
    since: u8,
    before: Output,
    /// Ticks since the last write.
    unwritten: u8,
}

impl Eq for World {}

impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match self.policy {
            State::Disarmed => 0.hash(hasher),
            State::Armed(Armed { armed, seen }) => (1, armed, seen).hash(hasher),
            State::Driving(driving) => {
                (2, driving.armed, driving.seen, driving.accepted).hash(hasher);
                for motion in [driving.steering, driving.throttle] {
                    (motion.value.to_bits(), motion.target.to_bits()).hash(hasher);
                }
            }
            State::Stopped { reason } => (3, reason).hash(hasher),
            State::Braking(Braking { began, reason }) => (5, began, reason).hash(hasher),
            State::Trimming(trimming) => {
                (4, trimming.confirmed, trimming.steering.to_bits()).hash(hasher);
            }
        }
        for output in [self.output, self.before] {
            let values = (output.steering.to_bits(), output.throttle.to_bits());
            (output.mode, values).hash(hasher);
        }
        let ages = (self.good, self.braking, self.since, self.unwritten);
        (self.witness, ages).hash(hasher);
    }
}

pub struct Guard {
    limits: Limits,
    step: fn(State, &Limits, Time, Event) -> Step,
}

impl Guard {
    pub fn new(step: fn(State, &Limits, Time, Event) -> Step) -> Self {
        Self {
            limits: limits(),
            step,
        }
    }

    fn run(&self, world: &World, action: Action) -> World {
        let now = match (action, seen(world.policy)) {
            (Action::ClockBack, Some(seen)) => seen - TICK,
            _ => NOW,
        };
        let step = (self.step)(world.policy, &self.limits, now, action.event());
        let (witness, good) = witness(world, action);
        World {
            policy: rebase(step.state),
            witness,
            good,
            braking: braking(world, witness, action),
            output: step.output,
            since: world.unwritten,
            before: world.output,
            unwritten: 0,
        }
    }
}

fn seen(policy: State) -> Option<Time> {
    match policy {
        State::Armed(armed) => Some(armed.seen),
        State::Driving(driving) => Some(driving.seen),
        State::Trimming(trimming) => Some(trimming.confirmed),
        State::Braking(braking) => Some(braking.began),
        State::Disarmed | State::Stopped { .. } => None,
    }
}

/// The policy's state, with `shift` applied to every time.
fn shifted(policy: State, shift: impl Fn(Time) -> Time) -> State {
    match policy {
        State::Armed(Armed { armed, seen }) => State::Armed(Armed {
            armed: shift(armed),
            seen: shift(seen),
        }),
        State::Driving(driving) => State::Driving(Driving {
            armed: shift(driving.armed),
            seen: shift(driving.seen),
            accepted: shift(driving.accepted),
            ..driving
        }),
        State::Trimming(trimming) => State::Trimming(Trimming {
            confirmed: shift(trimming.confirmed),
            ..trimming
        }),
        State::Braking(braking) => State::Braking(Braking {
            began: shift(braking.began),
            ..braking
        }),
        state => state,
    }
}

fn rebase(policy: State) -> State {
    let saturated = |time: Time| time.max(ago(AGE_LIMIT));
    match shifted(policy, saturated) {
        State::Driving(driving) => State::Driving(Driving {
            sequence: SEQUENCE,
            ..driving
        }),
        state => state,
    }
}

fn later(ticks: u8) -> u8 {
    AGE_LIMIT.min(ticks + 1)
}

fn pass(world: &World) -> World {
    World {
        policy: rebase(shifted(world.policy, |time| time - TICK)),
        witness: match world.witness {
            Witness::Armed { ago } => Witness::Armed { ago: later(ago) },
            Witness::Trimming { ago } => Witness::Trimming { ago: later(ago) },
            witness => witness,
        },
        good: world.good.map(later),
        braking: world.braking.map(later).filter(|ticks| *ticks < BRAKE),
        unwritten: later(world.unwritten),
        ..*world
    }
}

/// A good command is in force for this many ticks.
const COMMAND_TICKS: u8 = DEADLINE - ACTUATOR_DELAY;

fn witness(world: &World, action: Action) -> (Witness, Option<u8>) {
    let late = match (world.witness, world.good) {
        (Witness::Armed { .. }, Some(good)) => good >= COMMAND_TICKS,
        (Witness::Armed { ago }, None) => ago >= FIRST_COMMAND,
        (Witness::Trimming { ago }, _) => ago >= COMMAND_TICKS,
        _ => false,
    };
    let witness = match (world.witness, action) {
        _ if late => Witness::Stopped,
        (Witness::Armed { .. } | Witness::Trimming { .. }, Action::ClockBack) => Witness::Stopped,
        (witness, _) => witness,
    };
    match (witness, action) {
        (_, Action::Disarm) => (Witness::Disarmed, None),
        (Witness::Disarmed | Witness::Stopped, Action::ArmPhysical) => {
            (Witness::Armed { ago: 0 }, None)
        }
        (
            Witness::Armed { .. } | Witness::Trimming { .. },
            Action::Stop | Action::Fault | Action::ActuatorFault,
        ) => (Witness::Stopped, world.good),
        (Witness::Disarmed | Witness::Trimming { .. }, Action::Trim) => {
            (Witness::Trimming { ago: 0 }, None)
        }
        (Witness::Armed { ago }, Action::Command(class))
            if class.good(ago, world.good.is_some()) =>
        {
            (witness, Some(0))
        }
        _ => (witness, world.good),
    }
}

/// Ticks since the stop that `action` has led to, if the car brakes.
fn braking(world: &World, after: Witness, action: Action) -> Option<u8> {
    if after != Witness::Stopped || matches!(action, Action::ClockBack | Action::ActuatorFault) {
        return None;
    }
    match world.witness {
        Witness::Stopped => world.braking,
        _ => {
            let ahead = world.output.mode == Mode::Drive && world.output.throttle > 0.0;
            ahead.then_some(0)
        }
    }
}

impl Model for Guard {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let output = Output::disarmed(&self.limits);
        vec![World {
            policy: State::default(),
            witness: Witness::Disarmed,
            good: None,
            braking: None,
            output,
            since: 0,
            before: output,
            unwritten: 0,
        }]
    }

    fn actions(&self, _: &World, actions: &mut Vec<Action>) {
        actions.extend([
            Action::Pass,
            Action::Tick,
            Action::ClockBack,
            Action::ArmPhysical,
            Action::ArmSimulated,
            Action::ArmHeld,
            Action::ArmFailed,
            Action::Disarm,
            Action::Stop,
            Action::Trim,
            Action::TrimHeld,
            Action::Fault,
            Action::ActuatorFault,
        ]);
        actions.extend(CLASSES.map(Action::Command));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        Some(match action {
            Action::Pass => pass(world),
            _ => self.run(world, action),
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(DEADLINE_KEPT, |guard: &Self, world: &World| {
                world.unwritten > 0
                    || world.good.is_some_and(|ticks| ticks < COMMAND_TICKS)
                    || matches!(world.witness, Witness::Disarmed | Witness::Trimming { .. })
                    || world.output == Output::failsafe(&guard.limits)
                    || world.output == Output::brake(&guard.limits)
            }),
            Property::always(TRIM_KEPT, |_: &Self, world: &World| {
                let confirmed =
                    matches!(world.witness, Witness::Trimming { ago } if ago < COMMAND_TICKS);
                let trims = world.output.mode == Mode::Drive
                    && world.output.steering == TRIMMED
                    && world.output.throttle == 0.0;
                world.unwritten > 0 || !confirmed || trims
            }),
            Property::always(HELD_KEPT, |_: &Self, world: &World| {
                let moves = world.output.mode == Mode::Drive;
                let requested =
                    world.good.is_some() || matches!(world.witness, Witness::Trimming { .. });
                world.unwritten > 0 || !moves || requested
            }),
            Property::always(COMMAND_KEPT, |_: &Self, world: &World| {
                let in_force = matches!(world.witness, Witness::Armed { .. })
                    && world.good.is_some_and(|ticks| ticks < COMMAND_TICKS);
                !in_force || world.output.mode == Mode::Drive
            }),
            Property::always(DISARMED_KEPT, |guard: &Self, world: &World| {
                world.witness != Witness::Disarmed
                    || world.output == Output::disarmed(&guard.limits)
            }),
            Property::always(STOP_KEPT, |guard: &Self, world: &World| {
                world.witness != Witness::Stopped
                    || world.output == Output::failsafe(&guard.limits)
                    || world.output == Output::brake(&guard.limits)
            }),
            Property::always(BRAKE_KEPT, |guard: &Self, world: &World| {
                world.output.mode != Mode::Brake
                    || world.output == Output::brake(&guard.limits)
                        && (world.unwritten > 0 || world.braking.is_some())
            }),
            Property::always(BRAKES, |_: &Self, world: &World| {
                world.unwritten > 0 || world.braking.is_none() || world.output.mode == Mode::Brake
            }),
            Property::always(RANGE_KEPT, |_: &Self, world: &World| {
                (-1.0..=1.0).contains(&world.output.steering)
                    && (-0.25..=0.5).contains(&world.output.throttle)
            }),
            Property::always(SLEW_KEPT, |_: &Self, world: &World| {
                let ticks = f32::from(world.since);
                let fits = |now: f32, then: f32, rate: f32| (now - then).abs() <= rate * ticks;
                world.output.mode != Mode::Drive
                    || matches!(world.policy, State::Trimming(_))
                    || fits(world.output.steering, world.before.steering, 1.0)
                        && fits(world.output.throttle, world.before.throttle, 0.5)
            }),
            // The model is effective only if these states are reached.
            Property::sometimes(GOES_LEFT, |_: &Self, world: &World| {
                world.output.steering == 1.0 && world.output.throttle == 0.5
            }),
            Property::sometimes(GOES_RIGHT, |_: &Self, world: &World| {
                world.output.steering == -1.0 && world.output.throttle == -0.25
            }),
            Property::sometimes(BRAKES_LATE, |_: &Self, world: &World| {
                let reason = StopReason::Deadline;
                matches!(world.policy, State::Braking(braking) if braking.reason == reason)
            }),
            Property::sometimes(STOPS_LATE, |_: &Self, world: &World| {
                world.policy
                    == State::Stopped {
                        reason: StopReason::Deadline,
                    }
            }),
            Property::sometimes(STOPS_UNUSED, |_: &Self, world: &World| {
                world.policy
                    == State::Stopped {
                        reason: StopReason::NoFirstCommand,
                    }
            }),
            Property::sometimes(STOPS_ON_CLOCK, |_: &Self, world: &World| {
                world.policy
                    == State::Stopped {
                        reason: StopReason::ClockWentBack,
                    }
            }),
        ]
    }
}

pub const DEADLINE_KEPT: &str = "only failsafe after the deadline since the last good command";
pub const DISARMED_KEPT: &str = "only the disarmed values while disarmed";
pub const STOP_KEPT: &str = "stopped until an operator arms or disarms the car";
pub const BRAKE_KEPT: &str = "brakes only for its time after a stop of a car that drove ahead";
const BRAKES: &str = "a car that is stopped while it drives ahead brakes";
const TRIM_KEPT: &str = "a confirmed trim value is written, with the throttle at 0";
pub const HELD_KEPT: &str =
    "no movement without a good command or a trim after an operator's request";
const COMMAND_KEPT: &str = "a good command drives until its deadline";
const RANGE_KEPT: &str = "no output outside the channels' ranges";
pub const SLEW_KEPT: &str = "no change faster than the slew rate while driving";
const GOES_LEFT: &str = "drives full left at the throttle limit";
const GOES_RIGHT: &str = "drives full right in reverse";
const BRAKES_LATE: &str = "brakes at the deadline";
const STOPS_LATE: &str = "stops at the deadline";
const STOPS_UNUSED: &str = "stops when no command comes";
const STOPS_ON_CLOCK: &str = "stops when the clock goes back";
