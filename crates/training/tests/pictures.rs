//! Tests networks that see several pictures: what they see, and as what they begin.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_simulator::Circuit;
use pilotage_training::architecture::{Architecture, NetworkKind};
use pilotage_training::checkpoint::Checkpoint;
use pilotage_training::dataset::{Dataset, Place};
use pilotage_training::evaluate::plain;
use pilotage_training::imitate::{ImitateError, Plan, imitate};
use pilotage_training::network::{HEIGHT, OUTPUTS, PICTURE, Statistics, WIDTH};
use pilotage_training::observation::{InputForm, Observation};
use pilotage_training::rollout::Drive;
use pilotage_training::student::{Student, StudentError};
use pilotage_vehicle::Measurements;
use pilotage_vision::Layout;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engines/pilotnet.onnx")
}

fn form(pictures: usize) -> InputForm {
    InputForm {
        pictures,
        ..InputForm::default()
    }
}

fn seen(pictures: &[u8]) -> Observation<'_> {
    Observation {
        pictures,
        measured: Measurements::default(),
    }
}

fn picture(seed: usize) -> Vec<u8> {
    let byte = |at: usize| ((at * 7 + seed * 31) % 251) as u8;
    (0..PICTURE).map(byte).collect()
}

#[test]
fn a_widened_network_answers_as_its_model_by_the_latest_picture() {
    let mut one = Student::read(&shipped()).unwrap();
    let mut three = Student::widened(&shipped(), &form(3)).unwrap();
    assert_eq!((one.form(), three.form()), (&form(1), &form(3)));
    let latest = picture(1);
    let expected = one.answers(&[seen(&latest)]);
    for earlier in [picture(2), latest.clone(), vec![255; PICTURE]] {
        let pictures = [&earlier[..], &earlier, &latest].concat();
        let answers = three.answers(&[seen(&pictures)]);
        let (found, wanted) = (answers[0], expected[0]);
        assert!(
            (found.0 - wanted.0).abs() < 1e-3 && (found.1 - wanted.1).abs() < 1e-3,
            "{found:?} {wanted:?}"
        );
    }
    // A network of three pictures is read back as one.
    let graph = three.graph().unwrap();
    assert_eq!(
        Student::of_graph(&shipped(), &graph).unwrap().form(),
        &form(3)
    );
}

#[test]
fn a_network_of_another_form_cannot_be_widened() {
    let statistics = Statistics {
        mean: [0.5; 3],
        variance: [0.1; 3],
    };
    let large = Architecture::new(NetworkKind::Large, [HEIGHT, WIDTH, 3], OUTPUTS).unwrap();
    let large = large.graph(&statistics, &[0.5; OUTPUTS], Layout::Nchw, 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.onnx");
    fs::write(&path, large.unwrap().write()).unwrap();
    assert_eq!(Student::widened(&path, &form(1)).unwrap().form(), &form(1));
    let error = Student::widened(&path, &form(2)).unwrap_err();
    assert!(matches!(&error, StudentError::Begin { .. }), "{error}");
}

#[test]
fn a_drive_keeps_the_latest_pictures_and_begins_with_the_first() {
    let conditions = plain(Circuit::shipped("simple").unwrap(), 1);
    let mut drive = Drive::new(&conditions, 3).unwrap();
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for _ in 0..4 {
        assert!(drive.look().unwrap());
        taken.push(drive.picture().to_vec());
        let last = taken.len() - 1;
        let expected: Vec<u8> = [2, 1, 0]
            .iter()
            .flat_map(|before| taken[last.saturating_sub(*before)].clone())
            .collect();
        assert!(
            drive.observation().pictures == expected,
            "after {} pictures",
            taken.len()
        );
        drive.answer(5.0, 0.0);
        drive.advance();
    }
    assert!(taken[0] != taken[3]);
}

#[test]
fn the_pictures_before_one_are_those_of_its_drive() {
    let folder = tempfile::tempdir().unwrap();
    let mut data = Dataset::default();
    // Two drives in turn, and a third that begins when the first has ended.
    for (drive, frame) in [(1, 0), (2, 0), (1, 1), (2, 1), (3, 0), (2, 2), (3, 1)] {
        let measured = Measurements::default();
        data.push_at(
            Place { drive, frame },
            &picture(frame),
            [0.5; OUTPUTS],
            measured,
        );
    }
    let all = |data: &Dataset| -> Vec<[usize; 3]> {
        let of = |index| [0, 1, 2].map(|count| data.before(index, count));
        (0..data.len()).map(of).collect()
    };
    let expected = [
        [0, 0, 0],
        [1, 1, 1],
        [2, 0, 0],
        [3, 1, 1],
        [4, 4, 4],
        [5, 3, 1],
        [6, 4, 4],
    ];
    assert_eq!(all(&data), expected);

    // A checkpoint keeps the drives.
    let graph = Student::read(&shipped()).unwrap().graph().unwrap();
    let mut checkpoint = Checkpoint::open(folder.path(), false).unwrap();
    checkpoint.save(0, &graph, &data, 0).unwrap();
    let mut restored = Dataset::default();
    let checkpoint = Checkpoint::open(folder.path(), true).unwrap();
    checkpoint.restore(&mut restored).unwrap();
    assert_eq!(all(&restored), expected);
}

#[test]
fn a_network_of_two_pictures_learns_and_resumes_only_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let plan = |pictures: usize, millis, resume: bool| Plan {
        rounds: 1,
        frames: 48,
        epochs: 1,
        last_epochs: 1,
        batch: 16,
        latency: Some(Duration::from_millis(millis)),
        inputs: form(pictures),
        model: (pictures == 2).then(shipped),
        checkpoints: folder.path().to_owned(),
        resume,
        ..Plan::default()
    };
    let student = imitate(&plan(2, 100, false), &mut Dataset::default(), |_, _| Ok(()));
    assert_eq!(student.unwrap().form(), &form(2));
    let other = imitate(&plan(2, 50, true), &mut Dataset::default(), |_, _| Ok(()));
    assert!(matches!(other.unwrap_err(), ImitateError::Latency));
    let other = imitate(&plan(3, 100, true), &mut Dataset::default(), |_, _| Ok(()));
    let ImitateError::Inputs { found, wanted } = other.unwrap_err() else {
        panic!("other inputs were accepted");
    };
    assert_eq!((found, wanted), (form(2), form(3)));
}

#[test]
fn the_place_of_the_effect_is_where_the_car_is_when_a_command_takes_effect() {
    let mut conditions = plain(Circuit::shipped("simple").unwrap(), 1);
    conditions.latency = Duration::from_millis(100);
    let mut drive = Drive::new(&conditions, 1).unwrap();
    let mut foreseen = Vec::new();
    for frame in 0..20_usize {
        let pose = drive.world.pose();
        foreseen.push(drive.at_effect().1);
        // Two frames of 50 ms ago, this pose was foreseen.
        if let Some(before) = frame.checked_sub(2) {
            let expected = foreseen[before];
            let apart = libm::hypot(pose.x - expected.x, pose.y - expected.y);
            assert!(apart < 1e-6, "{frame}: {apart} m");
        }
        let frame = frame as f32;
        drive.answer(4.0 + frame, 0.5 - 0.05 * frame);
        drive.advance();
    }
    // What a disturbance adds is not foreseen.
    drive.answer(5.0, 0.0);
    let expected = drive.at_effect().1;
    let mut disturbed = Drive::new(&conditions, 1).unwrap();
    disturbed.answer_disturbed((5.0, 0.0), (9.0, 3.0));
    let mut calm = Drive::new(&conditions, 1).unwrap();
    calm.answer(5.0, 0.0);
    for drive in [&mut disturbed, &mut calm] {
        drive.advance();
    }
    assert_eq!(disturbed.at_effect(), calm.at_effect());
    assert!(expected != calm.at_effect().1);
}

#[test]
fn a_network_of_three_pictures_begins_with_random_weights_too() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        rounds: 0,
        frames: 48,
        last_epochs: 1,
        batch: 16,
        inputs: form(3),
        checkpoints: folder.path().to_owned(),
        ..Plan::default()
    };
    let student = imitate(&plan, &mut Dataset::default(), |_, _| Ok(()));
    assert_eq!(student.unwrap().form(), &form(3));
}
