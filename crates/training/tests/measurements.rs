//! Tests networks that get measured numbers beside the picture.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pilotage_compiler::{Precision, Recipe, compile_recipe};
use pilotage_config::Source;
use pilotage_engine::Bundle;
use pilotage_simulator::{CarKind, Circuit};
use pilotage_training::checkpoint::Checkpoint;
use pilotage_training::cloning::Target;
use pilotage_training::dataset::Dataset;
use pilotage_training::evaluate::plain;
use pilotage_training::imitate::{ImitateError, Plan, files, imitate};
use pilotage_training::network::PICTURE;
use pilotage_training::observation::{InputForm, Number, Observation, write_numbers};
use pilotage_training::rollout::Drive;
use pilotage_training::student::{Student, StudentError};
use pilotage_vehicle::{Controls, Measurement, Measurements, Mixer};

const BOTH: [Measurement; 2] = [Measurement::Speed, Measurement::YawRate];

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engines/pilotnet.onnx")
}

fn form(pictures: usize, measurements: &[Measurement]) -> InputForm {
    InputForm {
        pictures,
        measurements: measurements.to_vec(),
    }
}

fn seen(pictures: &[u8], speed: f32, yaw_rate: f32) -> Observation<'_> {
    Observation {
        pictures,
        measured: Measurements::new([Some(speed), Some(yaw_rate), None, None]),
    }
}

#[test]
fn a_network_begins_as_the_shipped_one_whatever_is_measured() {
    let picture: Vec<u8> = (0..PICTURE).map(|at| (at * 7 % 251) as u8).collect();
    let mut plain = Student::read(&shipped()).unwrap();
    let expected = plain.answers(&[seen(&picture, 0.0, 0.0)])[0];
    for pictures in [1, 3] {
        let form = form(pictures, &BOTH);
        let mut student = Student::widened(&shipped(), &form).unwrap();
        assert_eq!(student.form(), &form);
        let pictures = picture.repeat(pictures);
        for (speed, yaw_rate) in [(0.0, 0.0), (15.0, -5.0), (-3.0, 40.0)] {
            let found = student.answers(&[seen(&pictures, speed, yaw_rate)])[0];
            assert!(
                (found.0 - expected.0).abs() < 1e-3 && (found.1 - expected.1).abs() < 1e-3,
                "{found:?} {expected:?}"
            );
        }
    }
}

#[test]
fn each_measurement_is_an_input_with_its_name() {
    let form = form(1, &[Measurement::LateralAcceleration, Measurement::Speed]);
    let graph = Student::widened(&shipped(), &form).unwrap().graph();
    let graph = graph.unwrap();
    let inputs = graph.inputs.iter().map(|&input| graph.value(input));
    let inputs: Vec<_> = inputs.map(|it| (&*it.name, &it.shape[..])).collect();
    let expected = [
        ("image", &[1, 3, 66, 200][..]),
        ("lateral_acceleration", &[1, 1]),
        ("speed", &[1, 1]),
    ];
    assert_eq!(inputs, expected);
    // Read back, the network is the same.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.onnx");
    fs::write(&path, graph.write()).unwrap();
    assert_eq!(Student::read(&path).unwrap().form(), &form);
    // Its columns are not those of other measurements.
    let error = Student::widened(&path, &self::form(1, &BOTH)).unwrap_err();
    assert!(matches!(&error, StudentError::Begin { .. }), "{error}");
}

#[test]
fn a_mirrored_car_turns_the_other_way() {
    let written = |mirrored| {
        let mut elements = [[0.0]; 4];
        let all = Measurements::new([6.0, 2.0, 8.0, -4.0].map(Some));
        let inputs = elements.iter_mut().map(|it| &mut it[..]);
        write_numbers(&all, &Measurement::ALL, mirrored, inputs);
        elements.map(|[element]| element)
    };
    let ([v, w, along, across], [v2, w2, along2, across2]) = (written(false), written(true));
    assert_eq!([v, w, along, across], [v2, -w2, along2, -across2]);
    let Number { scale, offset, .. } = Number::simulated(Measurement::Speed);
    assert_eq!(v, scale * 6.0 + offset);
}

#[test]
fn a_drive_measures_with_the_delay_and_noise_of_its_sensors() {
    let mut conditions = plain(Circuit::shipped("simple").unwrap(), 1);
    // Unlike a unicycle, it gains speed gradually.
    conditions.car = CarKind::Ackermann;
    let mut drive = Drive::new(&conditions, 1).unwrap();
    let (steering, throttle) = Mixer::simulated().mix(Controls::Twist {
        speed: 8.0,
        yaw_rate: 0.0,
    });
    // The same car, with its speed at each millisecond.
    let mut car = drive.world.car().clone();
    let mut speeds = vec![car.speed()];
    let mut errors = Vec::new();
    for _ in 0..20 {
        drive.answer(8.0, 0.0);
        drive.advance();
        let now = drive.world.now().as_nanos() / 1_000_000;
        while speeds.len() as u64 <= now {
            car.step(steering, throttle, 1e-3);
            speeds.push(car.speed());
        }
        let latest = speeds.len() - 1;
        assert!((speeds[latest] - drive.world.car().speed()).abs() < 1e-9);
        let found = drive.observation().measured.get(Measurement::Speed);
        let delays = [0, 10].map(|delay| speeds[latest - delay]);
        errors.push(delays.map(|speed| f64::from(found.unwrap()) - speed));
    }
    let [without_delay, noise] = [0, 1].map(|of| {
        let squares = errors.iter().map(|errors| errors[of] * errors[of]);
        (squares.sum::<f64>() / errors.len() as f64).sqrt()
    });
    // The deviation of the speed's noise is 0.02 m/s.
    assert!((0.013..0.027).contains(&noise), "{noise}");
    assert!(without_delay > 3.0 * noise, "{without_delay} {noise}");
}

#[test]
fn a_checkpoint_keeps_its_measurements() {
    let folder = tempfile::tempdir().unwrap();
    let plan = |measurements: &[Measurement], resume: bool| Plan {
        rounds: 1,
        frames: 48,
        epochs: 1,
        last_epochs: 1,
        batch: 16,
        inputs: form(1, measurements),
        model: (!resume).then(shipped),
        checkpoints: folder.path().to_owned(),
        resume,
        ..Plan::default()
    };
    let mut data = Dataset::default();
    let student = imitate(&plan(&BOTH, false), &mut data, |_, _| Ok(())).unwrap();
    assert_eq!(student.form().measurements, BOTH);

    let checkpoint = Checkpoint::open(folder.path(), true).unwrap();
    let mut restored = Dataset::default();
    checkpoint.restore(&mut restored).unwrap();
    assert!(restored.len() == 96 && restored.has(Measurement::LateralAcceleration));
    assert!((0..96).all(|index| restored.measured(index) == data.measured(index)));
    let other = imitate(&plan(&BOTH[..1], true), &mut Dataset::default(), |_, _| {
        Ok(())
    });
    let error = other.unwrap_err();
    assert!(matches!(&error, ImitateError::Inputs { .. }), "{error}");

    // A recording without the number does not teach such a network.
    let mut recorded = Dataset::default();
    recorded.push(&vec![0; PICTURE], [0.5; 2]);
    let error = imitate(&plan(&BOTH, false), &mut recorded, |_, _| Ok(())).unwrap_err();
    assert!(error.to_string().contains("no measured speed"), "{error}");
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotage-training"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn an_unknown_measurement_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (measure, expected) in [
        ("speed,sped", "yaw_rate, acceleration, lateral_acceleration"),
        ("speed,speed", "names speed twice"),
    ] {
        let arguments = ["imitate", "--out", "it", "--measure", measure];
        let output = run(folder.path(), &arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && text.contains(expected),
            "{text}"
        );
    }
    let output = run(folder.path(), &["imitate", "--measure", "speed"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("need --out"), "{text}");
}

/// The recipe that is written compiles as it is.
#[test]
fn what_is_written_compiles() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        rounds: 0,
        frames: 40,
        last_epochs: 0,
        inputs: form(2, &BOTH),
        model: Some(shipped()),
        checkpoints: folder.path().join("checkpoints"),
        ..Plan::default()
    };
    let target = Target::new(&folder.path().join("it"), None, false, false).unwrap();
    let mut data = Dataset::default();
    let student = imitate(&plan, &mut data, |_, _| Ok(())).unwrap();
    files::write(&target, &student, &data, &plan).unwrap();
    let (recipe, text) = Recipe::read(&target.toml()).unwrap();
    assert_eq!(recipe.precision, Precision::Int8);
    let recipe = Recipe {
        precision: Precision::Fp32,
        ..recipe
    };
    let source = Source::new("it.toml", &text);
    let compiled = compile_recipe(recipe, &source, folder.path(), "it").unwrap();
    let bundle = Bundle::read(&compiled.bytes).unwrap();
    let rules = bundle.manifest.input_rules().unwrap();
    assert_eq!(rules.memory.pictures, 2);
    let measured: Vec<_> = rules
        .measured()
        .map(|(measurement, _)| measurement)
        .collect();
    assert_eq!(measured, BOTH);
}
