//! Every way the policy can go, walked by stateright over the shipped `step`.
//!
//! Time is counted in ticks, each shorter than any of the limits. The policy's
//! moments are kept as ages that saturate past the longest limit, and its
//! sequence is moved back to a fixed number after every step; `tests/rules.rs`
//! shows that `step` does not care where time and sequence start. What the
//! promises speak of (when the last good command came, what a person asked for)
//! the model keeps for itself: it does not ask the policy.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::hash::{Hash, Hasher};
use std::time::Duration;

use pilotage_guard::{
    ArmRequest, Armed, Channel, Domain, Driving, Event, Fault, Limits, LimitsSpec, Mode, Output,
    State, Step, StopReason, step,
};
use pilotage_vehicle::{Command, Time};
use stateright::{Checker, Model, Property};

/// 1/64 s, so that the slew of half a range a tick is exact in f32.
const TICK: Duration = Duration::from_nanos(15_625_000);
const DEADLINE: u8 = 4;
const ACTUATOR_DELAY: u8 = 1;
const MAX_AGE: u8 = 2;
const FIRST_COMMAND: u8 = 5;
/// Ages saturate here: past every limit, and past a whole range at the slew rate.
const FAR: u8 = 6;
/// The present, in every state of the model.
const NOW: Time = Time::from_nanos(1_000_000_000_000);
/// The last good command's sequence, in every state of the model.
const SEQUENCE: u64 = 1000;

fn ago(ticks: u8) -> Time {
    NOW - u32::from(ticks) * TICK
}

fn limits() -> Limits {
    Limits::new(LimitsSpec {
        steering: Channel {
            failsafe: 0.5,
            disarmed: -0.5,
            min: -1.0,
            max: 1.0,
            slew_per_second: 64.0,
        },
        throttle: Channel {
            failsafe: 0.0,
            disarmed: 0.0,
            min: -0.25,
            max: 0.5,
            slew_per_second: 32.0,
        },
        frame_period: TICK,
        deadline: u32::from(DEADLINE) * TICK,
        actuator_delay: u32::from(ACTUATOR_DELAY) * TICK,
        max_age: u32::from(MAX_AGE) * TICK,
        first_command: u32::from(FIRST_COMMAND) * TICK,
        actuator: Domain::Physical,
    })
    .unwrap()
}

/// The kinds of command that a pilot, sane or not, may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    Neutral,
    Least,
    Most,
    /// As old as a command may be.
    Oldest,
    OutOfRange,
    NotANumber,
    Infinite,
    /// One tick too old.
    Stale,
    /// Captured one tick from now.
    FromFuture,
    Replayed,
    /// Older than the last one.
    Overtaken,
}

const CLASSES: [Class; 11] = [
    Class::Neutral,
    Class::Least,
    Class::Most,
    Class::Oldest,
    Class::OutOfRange,
    Class::NotANumber,
    Class::Infinite,
    Class::Stale,
    Class::FromFuture,
    Class::Replayed,
    Class::Overtaken,
];

impl Class {
    fn command(self) -> Command {
        let most = Command {
            steering: 1.0,
            throttle: 1.0,
            captured: NOW,
            sequence: SEQUENCE + 1,
        };
        match self {
            Self::Neutral => Command {
                steering: 0.0,
                throttle: 0.0,
                ..most
            },
            Self::Least => Command {
                steering: -1.0,
                throttle: -1.0,
                ..most
            },
            Self::Most => most,
            Self::Oldest => Command {
                captured: ago(MAX_AGE),
                ..most
            },
            Self::OutOfRange => Command {
                steering: 1.0 + f32::EPSILON,
                ..most
            },
            Self::NotANumber => Command {
                throttle: f32::NAN,
                ..most
            },
            Self::Infinite => Command {
                steering: f32::NEG_INFINITY,
                ..most
            },
            Self::Stale => Command {
                captured: ago(MAX_AGE + 1),
                ..most
            },
            Self::FromFuture => Command {
                captured: NOW + TICK,
                ..most
            },
            Self::Replayed => Command {
                sequence: SEQUENCE,
                ..most
            },
            Self::Overtaken => Command {
                sequence: SEQUENCE - 1,
                ..most
            },
        }
    }

    /// Whether the car may heed it, `armed` ticks after it was armed and with or
    /// without a good command before it.
    fn good(self, armed: u8, driven: bool) -> bool {
        match self {
            Self::Neutral | Self::Least | Self::Most => true,
            Self::Oldest => armed >= MAX_AGE,
            Self::Replayed | Self::Overtaken => !driven,
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    /// A tick's time passes, and the guard is not run in it.
    Pass,
    Tick,
    /// The guard is run a tick before the moment it was last run at.
    ClockBack,
    ArmPhysical,
    ArmSimulated,
    Disarm,
    Stop,
    Fault,
    Command(Class),
}

impl Action {
    fn event(self) -> Event {
        let arm = |engine| Event::Arm(ArmRequest { engine });
        match self {
            Self::Pass | Self::Tick | Self::ClockBack => Event::Tick,
            Self::ArmPhysical => arm(Domain::Physical),
            Self::ArmSimulated => arm(Domain::Simulated),
            Self::Disarm => Event::Disarm,
            Self::Stop => Event::Stop,
            Self::Fault => Event::Fault(Fault::Camera),
            Self::Command(class) => Event::Command(class.command()),
        }
    }
}

/// What a person who watches the pilot and the clock knows that the guard must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Witness {
    /// Nobody armed it since it started or was disarmed.
    Disarmed,
    /// Armed so many ticks ago, and nothing has stopped it.
    Armed { ago: u8 },
    /// Something has stopped it since.
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct World {
    policy: State,
    witness: Witness,
    /// Ticks since the last good command after the last arming.
    good: Option<u8>,
    /// What was last written, how many ticks before that write the one before
    /// it was, and what that one was.
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
        }
        for output in [self.output, self.before] {
            let values = (output.steering.to_bits(), output.throttle.to_bits());
            (output.mode, values).hash(hasher);
        }
        (self.witness, self.good, self.since, self.unwritten).hash(hasher);
    }
}

struct Guard {
    limits: Limits,
    step: fn(State, &Limits, Time, Event) -> Step,
}

impl Guard {
    fn new(step: fn(State, &Limits, Time, Event) -> Step) -> Self {
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
        State::Disarmed | State::Stopped { .. } => None,
    }
}

/// The policy's state with every moment put through `shift`.
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
        state => state,
    }
}

fn rebase(policy: State) -> State {
    let saturated = |time: Time| time.max(ago(FAR));
    match shifted(policy, saturated) {
        State::Driving(driving) => State::Driving(Driving {
            sequence: SEQUENCE,
            ..driving
        }),
        state => state,
    }
}

fn later(ticks: u8) -> u8 {
    FAR.min(ticks + 1)
}

fn pass(world: &World) -> World {
    World {
        policy: rebase(shifted(world.policy, |time| time - TICK)),
        witness: match world.witness {
            Witness::Armed { ago } => Witness::Armed { ago: later(ago) },
            witness => witness,
        },
        good: world.good.map(later),
        unwritten: later(world.unwritten),
        ..*world
    }
}

/// Good commands hold so many ticks.
const PATIENCE: u8 = DEADLINE - ACTUATOR_DELAY;

fn witness(world: &World, action: Action) -> (Witness, Option<u8>) {
    let late = match (world.witness, world.good) {
        (Witness::Armed { .. }, Some(good)) => good >= PATIENCE,
        (Witness::Armed { ago }, None) => ago >= FIRST_COMMAND,
        _ => false,
    };
    let witness = match (world.witness, action) {
        _ if late => Witness::Stopped,
        (Witness::Armed { .. }, Action::ClockBack) => Witness::Stopped,
        (witness, _) => witness,
    };
    match (witness, action) {
        (_, Action::Disarm) => (Witness::Disarmed, None),
        (Witness::Disarmed | Witness::Stopped, Action::ArmPhysical) => {
            (Witness::Armed { ago: 0 }, None)
        }
        (Witness::Armed { .. }, Action::Stop | Action::Fault) => (Witness::Stopped, world.good),
        (Witness::Armed { ago }, Action::Command(class))
            if class.good(ago, world.good.is_some()) =>
        {
            (witness, Some(0))
        }
        _ => (witness, world.good),
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
            Action::Disarm,
            Action::Stop,
            Action::Fault,
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
                    || world.good.is_some_and(|ticks| ticks < PATIENCE)
                    || world.witness == Witness::Disarmed
                    || world.output == Output::failsafe(&guard.limits)
            }),
            Property::always(HEEDED, |_: &Self, world: &World| {
                let heeded = matches!(world.witness, Witness::Armed { .. })
                    && world.good.is_some_and(|ticks| ticks < PATIENCE);
                !heeded || world.output.mode == Mode::Drive
            }),
            Property::always(DISARMED_KEPT, |guard: &Self, world: &World| {
                world.witness != Witness::Disarmed
                    || world.output == Output::disarmed(&guard.limits)
            }),
            Property::always(STOP_KEPT, |guard: &Self, world: &World| {
                world.witness != Witness::Stopped || world.output == Output::failsafe(&guard.limits)
            }),
            Property::always(RANGE_KEPT, |_: &Self, world: &World| {
                (-1.0..=1.0).contains(&world.output.steering)
                    && (-0.25..=0.5).contains(&world.output.throttle)
            }),
            Property::always(SLEW_KEPT, |_: &Self, world: &World| {
                let ticks = f32::from(world.since);
                let fits = |now: f32, then: f32, rate: f32| (now - then).abs() <= rate * ticks;
                world.output.mode != Mode::Drive
                    || fits(world.output.steering, world.before.steering, 1.0)
                        && fits(world.output.throttle, world.before.throttle, 0.5)
            }),
            // The walk is worth something only if it gets to these.
            Property::sometimes(GOES_LEFT, |_: &Self, world: &World| {
                world.output.steering == 1.0 && world.output.throttle == 0.5
            }),
            Property::sometimes(GOES_RIGHT, |_: &Self, world: &World| {
                world.output.steering == -1.0 && world.output.throttle == -0.25
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

const DEADLINE_KEPT: &str =
    "no output but failsafe later than the deadline after the last good command";
const DISARMED_KEPT: &str = "none but the disarmed values while disarmed";
const STOP_KEPT: &str = "stopped stays stopped until a person arms or disarms it";
const HEEDED: &str = "a good command drives until its deadline";
const RANGE_KEPT: &str = "no output outside the channels' ranges";
const SLEW_KEPT: &str = "no faster than the slew rate while driving";
const GOES_LEFT: &str = "drives full left at the throttle limit";
const GOES_RIGHT: &str = "drives full right in reverse";
const STOPS_LATE: &str = "stops at the deadline";
const STOPS_UNUSED: &str = "stops when no command comes";
const STOPS_ON_CLOCK: &str = "stops when the clock goes back";

#[test]
fn the_policy_keeps_its_promises_in_every_state() {
    let checker = Guard::new(step).checker().spawn_bfs().join();
    println!(
        "{} states, {} transitions, longest way {}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    assert!(checker.is_done(), "every state was walked");
    assert!(checker.unique_state_count() > 1000, "the walk went far");
    checker.assert_properties();
}

/// The same walk over a faulty policy must find the promise that it breaks.
fn assert_found(step: fn(State, &Limits, Time, Event) -> Step, promise: &'static str) {
    let checker = Guard::new(step).checker().spawn_bfs().join();
    let path = checker.assert_any_discovery(promise);
    println!("found in {} steps: {promise}", path.into_actions().len());
}

#[test]
fn a_policy_that_ignores_the_deadline_is_found() {
    fn faulty(mut state: State, limits: &Limits, now: Time, event: Event) -> Step {
        if let State::Driving(driving) = &mut state {
            driving.accepted = now;
        }
        step(state, limits, now, event)
    }
    assert_found(faulty, DEADLINE_KEPT);
}

#[test]
fn a_policy_that_ignores_the_actuators_delay_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let mut spec = *limits.spec();
        spec.actuator_delay = Duration::ZERO;
        step(state, &Limits::new(spec).unwrap(), now, event)
    }
    assert_found(faulty, DEADLINE_KEPT);
}

#[test]
fn a_policy_whose_deadline_runs_anew_with_refused_commands_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let mut step = step(state, limits, now, event);
        if let (State::Driving(driving), Some(_)) = (&mut step.state, step.refused) {
            driving.accepted = now;
        }
        step
    }
    assert_found(faulty, DEADLINE_KEPT);
}

#[test]
fn a_policy_that_takes_replays_is_found() {
    fn faulty(mut state: State, limits: &Limits, now: Time, event: Event) -> Step {
        if let State::Driving(driving) = &mut state {
            driving.sequence = 0;
        }
        step(state, limits, now, event)
    }
    assert_found(faulty, DEADLINE_KEPT);
}

#[test]
fn a_policy_that_takes_old_frames_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let event = match event {
            Event::Command(command) if command.captured < now => Event::Command(Command {
                captured: now,
                ..command
            }),
            event => event,
        };
        step(state, limits, now, event)
    }
    assert_found(faulty, DEADLINE_KEPT);
}

#[test]
fn a_policy_that_a_good_command_wakes_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let state = match (state, event) {
            (State::Stopped { .. }, Event::Command(_)) => State::Armed(Armed {
                armed: now,
                seen: now - TICK,
            }),
            (state, _) => state,
        };
        step(state, limits, now, event)
    }
    assert_found(faulty, STOP_KEPT);
}

#[test]
fn a_policy_that_commands_arm_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let state = match (state, event) {
            (State::Disarmed, Event::Command(_)) => State::Armed(Armed {
                armed: now,
                seen: now,
            }),
            (state, _) => state,
        };
        step(state, limits, now, event)
    }
    assert_found(faulty, DISARMED_KEPT);
}

#[test]
fn a_policy_that_arms_any_engine_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let event = match event {
            Event::Arm(_) => Action::ArmPhysical.event(),
            event => event,
        };
        step(state, limits, now, event)
    }
    assert_found(faulty, DISARMED_KEPT);
}

#[test]
fn a_policy_that_jumps_to_its_target_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let mut step = step(state, limits, now, event);
        if let State::Driving(driving) = &mut step.state {
            driving.steering.value = driving.steering.target;
        }
        step.output = step.state.output(limits);
        step
    }
    assert_found(faulty, SLEW_KEPT);
}
