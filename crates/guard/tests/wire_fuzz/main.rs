//! A long sequence of random messages to a guard behind its socket: valid ones, nearly valid ones
//! and garbage, from a pilot and operators, while clients connect and disconnect and time passes.
//! Many commands are accepted, so that the guard is tested while it drives.
//!
//! `cargo xtask wire` sends a million. PILOTAGE_MESSAGES sets the number of messages, PILOTAGE_SEED
//! the seed.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue fails"
)]

mod messages;
mod random;
mod world;

use std::time::Duration;

use world::{World, drain};

/// The default number of messages.
const MESSAGES: u64 = 50_000;
/// At least one in this many messages is an accepted command. A guard that can be made to ignore
/// its pilot accepts fewer.
const ACCEPTED: u64 = 5;
/// The clock advances by at most this much between two messages.
const STEP_NS: u64 = 300_000;

#[test]
fn only_the_pilot_moves_the_car_and_only_within_its_limits() {
    let number = |name: &str, default: u64| {
        let given = std::env::var(name).ok();
        given.map_or(default, |given| given.parse().unwrap())
    };
    let messages = number("PILOTAGE_MESSAGES", MESSAGES);
    let mut world = World::new(number("PILOTAGE_SEED", 0x5EED_0001));
    let mut silences = 0;
    while world.sent < messages {
        match world.random.below(1000) {
            0 => {
                world.silence();
                silences += 1;
            }
            1..3 => world.pilot_dies(),
            3..30 => world.connect_and_arm(),
            30..600 => world.pilot_sends(),
            _ => world.other_sends(),
        }
        for connection in world.pilot.iter().chain(world.others.iter().flatten()) {
            drain(connection);
        }
        let step = world.random.below(STEP_NS);
        world.pass(Duration::from_nanos(step));
    }
    world.silence();
    let status = world.server.executor().status();
    let accepted = status.counters.accepted;
    println!(
        "{} messages, {accepted} commands accepted, {} refused, {silences} silences",
        world.sent,
        status.counters.refused_in_all()
    );
    assert!(silences > 0);
    assert!(
        accepted >= messages / ACCEPTED,
        "only {accepted} of {messages} messages were accepted commands"
    );
}
