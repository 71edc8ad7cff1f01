//! Tests engines that drive while the expert labels.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use std::fs;
use std::path::Path;

use pilotage_compiler::compile;
use pilotage_simulator::Circuit;
use pilotage_training::collect::{Wanted, collect};
use pilotage_training::dataset::{Dataset, normalised, physical};
use pilotage_training::driver::{Driver, DriverError, EngineDriver, Seen};
use pilotage_training::evaluate::plain;
use pilotage_training::expert::Expert;
use pilotage_training::rollout::Drive;
use pilotage_training::student::Student;

#[path = "../../../tests/support/memory.rs"]
mod memory;

const ENGINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../engines");

/// The network of `memory.rs` in float32: three quarters of the shipped network's answer, and a quarter
/// of its own latest one, which is 0.5 at first.
fn engine(folder: &Path) -> EngineDriver {
    memory::write(ENGINES, folder);
    let recipe = folder.join("memory.toml");
    let text = fs::read_to_string(&recipe).unwrap();
    let text = text
        .replace("\"int8\"", "\"fp32\"")
        .replace("max_frames = 200", "max_frames = 20");
    fs::write(&recipe, text).unwrap();
    let file = folder.join("memory.engine");
    fs::write(&file, compile(&recipe).unwrap().bytes).unwrap();
    EngineDriver::read(&file).unwrap()
}

#[test]
fn an_engine_with_a_memory_drives_each_car_by_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(folder.path());
    let mut shipped = Student::read(&Path::new(ENGINES).join("pilotnet.onnx")).unwrap();
    let begin = |seed| Drive::new(&plain(Circuit::random(seed), seed), 1).unwrap();
    let mut drives = [begin(1), begin(2)];
    let mut numbers = [1, 2];
    let mut filtered = [[0.5_f32; 2]; 2];
    for frame in 0..8 {
        if frame == 5 {
            // Another drive in the second place begins anew.
            (drives[1], numbers[1], filtered[1]) = (begin(3), 3, [0.5; 2]);
        }
        let has_frame = drives.each_mut().map(|drive| drive.look().unwrap());
        let observed = drives.each_ref().map(Drive::observation);
        let plain = Student::answers(&mut shipped, &observed);
        let cars = drives.iter().zip(numbers).zip(has_frame);
        let seen = cars.map(|((drive, number), has_frame)| Seen {
            drive,
            number,
            has_frame,
        });
        let answers = engine.answers(&seen.collect::<Vec<_>>()).unwrap();
        for (car, (found, plain)) in answers.iter().zip(plain).enumerate() {
            let fresh = normalised(f64::from(plain.0), f64::from(plain.1));
            let next = |at: usize| 0.75 * fresh[at] + 0.25 * filtered[car][at];
            filtered[car] = [next(0), next(1)];
            let expected = physical(filtered[car]);
            let differs = (found.0 - expected.0)
                .abs()
                .max((found.1 - expected.1).abs());
            assert!(
                differs < 1e-3,
                "frame {frame}, car {car}: {found:?}, {expected:?}"
            );
        }
        for (drive, (speed, yaw_rate)) in drives.iter_mut().zip(answers) {
            drive.answer(speed, yaw_rate);
            drive.advance();
        }
    }
}

#[test]
fn the_expert_labels_what_an_engine_drives() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(folder.path());
    let expert = Expert::default();
    let wanted = |frames| Wanted {
        frames,
        seed: 1,
        expert: &expert,
        latency: None,
    };
    let labels = |driver: Option<(&mut dyn Driver, f64)>| {
        let mut data = Dataset::default();
        collect(&mut data, wanted(320), driver, |_| ()).unwrap();
        assert_eq!(data.len(), 320);
        data
    };
    let own = labels(Some((&mut engine, 0.0)));
    let same = labels(Some((&mut engine, 1.0)));
    let experts = labels(None);
    // With a share of 1 the expert drives, as without a driver.
    assert_eq!(same.pictures(), experts.pictures());
    assert_ne!(own.pictures(), experts.pictures());
}

#[test]
fn files_and_engines_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = EngineDriver::read(&folder.path().join("none.engine")).err();
    assert!(
        matches!(missing, Some(DriverError::Read { .. })),
        "{missing:?}"
    );
    let file = folder.path().join("broken.engine");
    fs::write(&file, "no engine").unwrap();
    let broken = EngineDriver::read(&file).err();
    assert!(
        matches!(broken, Some(DriverError::Read { .. })),
        "{broken:?}"
    );

    let recipe = fs::read_to_string(format!("{ENGINES}/pilotnet.toml")).unwrap();
    let recipe = recipe
        .replace("\"pilotnet.onnx\"", &format!("\"{ENGINES}/pilotnet.onnx\""))
        .replace(
            "\"frames\"",
            &format!("\"{ENGINES}/frames\"\nmax_frames = 20"),
        )
        .replace("\"int8\"", "\"fp32\"");
    let refused = |recipe: &str| {
        let path = folder.path().join("other.toml");
        fs::write(&path, recipe).unwrap();
        let file = folder.path().join("other.engine");
        fs::write(&file, compile(&path).unwrap().bytes).unwrap();
        EngineDriver::read(&file).err().unwrap().to_string()
    };
    let above = refused(&recipe.replace("y = 240, ", "y = 100, "));
    assert!(above.contains("above row 240"), "{above}");
    let steers = recipe
        .replace("\"speed\"", "\"throttle\"")
        .replace("\"yaw_rate\"", "\"steering\"")
        .replace("scale = 17.5\noffset = 6.5", "scale = 1.0")
        .replace("scale = 14.2\noffset = -7.1", "scale = 1.0");
    let steers = refused(&steers);
    assert!(steers.contains("`speed` and `yaw_rate`"), "{steers}");
}
