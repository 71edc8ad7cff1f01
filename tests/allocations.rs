//! After start-up the loop allocates nothing: design rule 6.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use pilotage::car::{Car, Settings};
use pilotage::engines;
use pilotage::pilot::{Dropped, Parts, Pilot};
use pilotage::report::LoopTiming;
use pilotage::simulation::{Latency, Pace, Simulation};
use pilotage_guard::ArmRequest;

fn allocations_per_lap_of(adjust: impl FnOnce(&mut Settings)) -> (u64, u64) {
    let car = Car::load_with(None, adjust).unwrap();
    let loaded = engines::load(&car).unwrap();
    let simulation = Simulation::new(
        car.world().unwrap(),
        car.limits,
        Pace::Fast,
        Latency::Fixed(Duration::from_millis(10)),
        Dropped::default(),
    )
    .unwrap();
    let world = simulation.world;
    let mut pilot = Pilot::new(Parts {
        camera: Box::new(simulation.camera),
        preprocess: loaded.preprocess,
        engine: loaded.engine,
        decoder: loaded.decoder,
        mixer: car.mixer.clone(),
        link: Box::new(simulation.link),
        clock: Box::new(simulation.clock),
    })
    .unwrap();
    pilot.prepare().unwrap();
    let now = pilot.now();
    let request = ArmRequest {
        engine: loaded.domain,
    };
    pilot.link().arm(now, request).unwrap();
    let mut timing = LoopTiming::new();
    let mut turns = 0;
    let counted = allocation_counter::measure(|| {
        while turns < 200 && world.borrow().outcome().is_none() {
            timing.record(&pilot.step().unwrap());
            turns += 1;
        }
    });
    (counted.count_total, turns)
}

#[test]
fn two_hundred_turns_of_the_loop_allocate_nothing() {
    assert_eq!(allocations_per_lap_of(|_| ()), (0, 200));
}

#[test]
fn nor_do_they_on_the_ackermann_car_under_strange_light() {
    let counted = allocations_per_lap_of(|settings| {
        settings.car.kind = pilotage::car::Kind::Ackermann;
        settings.simulator.looks = Some(3);
    });
    assert_eq!(counted, (0, 200));
}
