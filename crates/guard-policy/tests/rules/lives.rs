//! Arbitrary limits, and arbitrary sequences of events for a guard.

use std::time::Duration;

use pilotage_guard_policy::{
    ArmRequest, Channel, Event, Interlocks, Limits, LimitsSpec, Output, State, Step, step,
};
use pilotage_vehicle::{Command, Domain, Fault, Time};
use proptest::prelude::*;

/// The next event, and the time since the previous one.
#[derive(Debug, Clone)]
pub struct Happening {
    pub wait: Duration,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    Event(Event),
    /// A command of this age, whose sequence number differs by `rise` from the last good one's.
    Command {
        age: Duration,
        rise: i64,
        steering: f32,
        throttle: f32,
    },
}

/// One step of a sequence.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now: Time,
    pub event: Event,
    pub before: State,
    /// The output before this step.
    pub held: Output,
    pub step: Step,
}

pub const START: Time = Time::from_nanos(1_000_000_000_000_000);

/// Runs a guard from its start through these events.
pub fn live(limits: &Limits, happenings: &[Happening]) -> Vec<Moment> {
    let (mut state, mut held, mut now) = (State::default(), Output::disarmed(limits), START);
    let mut sequence = 1_000_000u64;
    let mut moments = Vec::new();
    for Happening { wait, what } in happenings {
        now = now + *wait;
        let event = match *what {
            What::Event(event) => event,
            What::Command {
                age,
                rise,
                steering,
                throttle,
            } => Event::Command(Command {
                steering,
                throttle,
                captured: now - age,
                sequence: sequence.saturating_add_signed(rise),
            }),
        };
        let step = step(state, limits, now, event);
        if let (Event::Command(command), None) = (event, step.refused) {
            sequence = command.sequence;
        }
        moments.push(Moment {
            now,
            event,
            before: state,
            held,
            step,
        });
        (state, held) = (step.state, step.output);
    }
    moments
}

pub fn channel(moves: bool) -> impl Strategy<Value = Channel> {
    let unit = 0.0f32..=1.0;
    (
        unit.clone(),
        unit.clone(),
        unit.clone(),
        unit,
        0.1f32..100.0,
    )
        .prop_map(move |(below, above, failsafe, disarmed, slew_per_second)| {
            let within = |share: f32| (share * (below + above) - below).clamp(-below, above);
            Channel {
                min: -below,
                max: above,
                failsafe: if moves { within(failsafe) } else { 0.0 },
                disarmed: if moves { within(disarmed) } else { 0.0 },
                slew_per_second,
            }
        })
}

pub fn limits() -> impl Strategy<Value = Limits> {
    let domain = prop_oneof![Just(Domain::Simulated), Just(Domain::Physical)];
    let brake = prop_oneof![Just(0u64), 1u64..=2000].prop_map(Duration::from_millis);
    let times = (5u64..100, 3u32..=20, 0.0..=1.0, 0.01..=1.0, 1u32..4, brake);
    (channel(true), channel(false), times, domain).prop_map(
        |(steering, throttle, (frame, frames, delay, age, first, brake), actuator)| {
            let frame_period = Duration::from_millis(frame);
            let deadline = frames * frame_period;
            Limits::new(LimitsSpec {
                steering,
                throttle,
                frame_period,
                deadline,
                actuator_delay: (deadline - frame_period).mul_f64(delay),
                max_age: deadline.mul_f64(age),
                first_command: first * deadline,
                brake,
                actuator,
            })
            .unwrap()
        },
    )
}

pub fn fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(vec![
        Fault::Camera,
        Fault::FrozenPicture,
        Fault::Engine,
        Fault::Pilot,
        Fault::Gamepad,
        Fault::Actuator,
    ])
}

pub fn request() -> impl Strategy<Value = Event> {
    let engine = prop_oneof![Just(Domain::Simulated), Just(Domain::Physical)];
    (engine, interlocks())
        .prop_map(|(engine, interlocks)| Event::Arm(ArmRequest { engine }, interlocks))
}

pub fn interlocks() -> impl Strategy<Value = Interlocks> {
    let held = || prop::bool::weighted(0.1);
    (held(), held()).prop_map(|(stop_held, actuator_failed)| Interlocks {
        stop_held,
        actuator_failed,
    })
}

pub fn good_command() -> impl Strategy<Value = What> {
    (0u64..3_000, 1i64..3, -1.0f32..=1.0, -1.0f32..=1.0).prop_map(
        |(micros, rise, steering, throttle)| What::Command {
            age: Duration::from_micros(micros),
            rise,
            steering,
            throttle,
        },
    )
}

pub fn any_command() -> impl Strategy<Value = What> {
    let value = || prop_oneof![4 => -1.2f32..1.2, 1 => prop::num::f32::ANY];
    (0u64..200_000, -3i64..5, value(), value()).prop_map(|(micros, rise, steering, throttle)| {
        What::Command {
            age: Duration::from_micros(micros),
            rise,
            steering,
            throttle,
        }
    })
}

pub fn happening() -> impl Strategy<Value = Happening> {
    let wait = prop_oneof![
        2 => Just(0u64),
        6 => 0u64..20_000,
        2 => 0u64..200_000,
        1 => 0u64..5_000_000,
    ];
    let what = prop_oneof![
        6 => Just(What::Event(Event::Tick)),
        6 => good_command(),
        3 => any_command(),
        3 => request().prop_map(What::Event),
        1 => Just(What::Event(Event::Disarm)),
        1 => Just(What::Event(Event::Stop)),
        1 => (-1.1f32..1.1, interlocks())
            .prop_map(|(steering, interlocks)| What::Event(Event::Trim(steering, interlocks))),
        1 => fault().prop_map(|fault| What::Event(Event::Fault(fault))),
    ];
    (wait, what).prop_map(|(micros, what)| Happening {
        wait: Duration::from_micros(micros),
        what,
    })
}

pub fn life() -> impl Strategy<Value = (Limits, Vec<Moment>)> {
    (limits(), prop::collection::vec(happening(), 1..60)).prop_map(|(limits, happenings)| {
        let moments = live(&limits, &happenings);
        (limits, moments)
    })
}

pub fn command_of(moment: &Moment) -> Option<Command> {
    match moment.event {
        Event::Command(command) => Some(command),
        _ => None,
    }
}
