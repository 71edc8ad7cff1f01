//! Tests that the expert drives, and that training is repeatable.

#![allow(clippy::unwrap_used, reason = "a failure is a panic")]

use std::path::Path;
use std::time::Duration;

use pilotage_simulator::{CarKind, Circuit};
use pilotage_training::dataset::Dataset;
use pilotage_training::evaluate::{Drove, drive, plain};
use pilotage_training::expert::Expert;
use pilotage_training::imitate::{Plan, imitate};
use pilotage_training::policy::Policy;

fn expert_drives(expert: Expert, car: CarKind, latency: Duration) -> Vec<Drove> {
    let circuits = Circuit::shipped_names()
        .iter()
        .filter_map(|name| Circuit::shipped(name));
    let conditions: Vec<_> = circuits
        .map(|circuit| {
            let mut conditions = plain(circuit, 1);
            conditions.car = car;
            conditions.latency = latency;
            conditions
        })
        .collect();
    let mut policy = Policy::Expert(expert);
    let drives = drive(&mut policy, &conditions, 1).unwrap();
    assert_eq!(drives.len(), Circuit::shipped_names().len());
    drives
}

#[test]
fn the_expert_laps_every_shipped_circuit_close_to_the_line() {
    for car in [CarKind::Unicycle, CarKind::Ackermann] {
        for drove in expert_drives(Expert::default(), car, Duration::ZERO) {
            assert!(drove.done, "{drove:?}");
            assert!(
                drove.deviation[0] < 0.03 && drove.deviation[1] < 0.10,
                "{drove:?}"
            );
        }
    }
}

#[test]
fn the_expert_drives_with_a_tenth_of_a_second_of_latency() {
    let latency = Duration::from_millis(100);
    for drove in expert_drives(Expert::default(), CarKind::Ackermann, latency) {
        assert!(drove.done, "{drove:?}");
    }
}

#[test]
fn an_expert_that_foresees_its_latency_drives_as_without_it() {
    let latency = Duration::from_millis(100);
    let foreseen = expert_drives(Expert::foreseeing(), CarKind::Unicycle, latency);
    let late = expert_drives(Expert::default(), CarKind::Unicycle, latency);
    for (foreseen, late) in foreseen.iter().zip(&late) {
        let mean = foreseen.deviation[0];
        assert!(foreseen.done && mean < 0.03, "{foreseen:?}");
        assert!(mean < late.deviation[0], "{foreseen:?} {late:?}");
    }
}

fn tiny(checkpoints: &Path, seed: u64, rounds: usize, resume: bool) -> (Vec<u8>, Vec<u8>) {
    let plan = Plan {
        seed,
        rounds,
        frames: 48,
        epochs: 1,
        last_epochs: 1,
        batch: 16,
        checkpoints: checkpoints.to_owned(),
        resume,
        ..Plan::default()
    };
    let mut data = Dataset::default();
    let mut seen = 0;
    let student = imitate(&plan, &mut data, |_, _| {
        seen += 1;
        Ok(())
    })
    .unwrap();
    assert!(seen > 0);
    (student.graph().unwrap().write(), data.pictures().to_vec())
}

#[test]
fn a_seed_fixes_frames_and_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (model, pictures) = tiny(folder.path(), 1, 1, false);
    assert_eq!(pictures.len() % 48, 0);
    let again = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    let other = folder.path().join("other");
    assert_eq!(
        again.install(|| tiny(&other, 1, 1, false)),
        (model.clone(), pictures.clone())
    );
    let (other_model, frames) = tiny(&other, 2, 1, false);
    assert!(other_model != model && frames != pictures);
}

#[test]
fn resuming_goes_on_after_the_last_finished_round() {
    let folder = tempfile::tempdir().unwrap();
    let (_, first) = tiny(folder.path(), 1, 0, false);
    let (_, both) = tiny(folder.path(), 1, 1, true);
    assert_eq!(both.len(), 2 * first.len());
    assert_eq!(both[..first.len()], first[..]);
}
