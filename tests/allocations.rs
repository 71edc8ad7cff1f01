//! After start-up the loop allocates nothing: design rule 6.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use pilotage::car::{Car, Settings};
use pilotage::engines;
use pilotage::pilot::Dropped;
use pilotage::report::LoopTiming;
use pilotage::simulation::{Pace, SimulatedDrive};

fn allocations_per_lap_of(adjust: impl FnOnce(&mut Settings)) -> (u64, u64) {
    let car = Car::load_with(None, |settings| {
        settings.simulator.pace = Pace::Fast;
        settings.simulator.latency_ms = Some(10.0);
        adjust(settings);
    });
    let car = car.unwrap();
    let (world, loaded) = (car.world().unwrap(), engines::load(&car).unwrap());
    let mut drive = SimulatedDrive::new(&car, world, loaded, Dropped::default()).unwrap();
    drive.pilot.prepare().unwrap();
    drive.arm().unwrap();
    let mut timing = LoopTiming::new();
    let mut turns = 0;
    let counted = allocation_counter::measure(|| {
        while turns < 200 && drive.world.borrow().outcome().is_none() {
            timing.record(&drive.pilot.step().unwrap());
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
