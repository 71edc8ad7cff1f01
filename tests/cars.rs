//! The car.toml files that ship for well-known cars.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

use pilotage::car::Car;
use pilotage_guard::GuardedCar;
use pilotage_vehicle::Domain;

#[test]
fn each_shipped_car_is_valid_slow_and_physical() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cars");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let car = Car::load(&path).unwrap();
        names.push(car.name.clone());
        let limits = car.limits.spec();
        assert_eq!(limits.actuator, Domain::Physical, "{}", car.name);
        assert!(limits.throttle.max <= 0.2, "{}", car.name);
        assert!(limits.throttle.min >= -0.2, "{}", car.name);
        assert!(car.capture.is_some(), "{}", car.name);
        assert!(car.gamepad.is_some(), "{}", car.name);
        assert_eq!(GuardedCar::load(&path).unwrap(), car.guarded());
    }
    names.sort();
    assert_eq!(names, ["Donkeycar", "F1TENTH", "JetBot", "JetRacer"]);
}
