//! Whole runs: what is learned, interruptions, threads.

use std::fs;
use std::ops::ControlFlow;

use pilotage_engine::Meaning;
use pilotage_training::cloning::fit::FitError;
use pilotage_training::cloning::state::StateError;
use pilotage_training::cloning::{CloningError, train};

use crate::support::{RECIPE, model, pedals, plan, recording, steering};

fn go_on(_: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn the_lane_is_learned_better_than_any_constant() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tub");
    pedals(&data, 240);
    let recipe = RECIPE.replace("epochs = 3", "epochs = 16");
    let recipe = recipe.replace("batch = 16", "batch = 8");
    let trained = train(&plan(&data, &recipe, folder.path(), "lane"), go_on).unwrap();
    let steering = &trained.scores[0];
    assert_eq!(steering.meaning, Meaning::Steering);
    assert_eq!(trained.scores[1].meaning, Meaning::Throttle);
    let straight = steering.straight.unwrap();
    assert!(
        steering.network.root_mean_square < 0.5 * steering.mean.root_mean_square,
        "{steering:?}"
    );
    assert!(steering.mean.root_mean_square <= straight.root_mean_square + 0.05);
    let (learned, held_back) = trained.frames;
    assert!(
        held_back >= 24 && learned + held_back <= 240,
        "{:?}",
        trained.frames
    );
    // The checkpoint is gone, and the picture is a picture.
    assert!(!folder.path().join("lane.checkpoint").exists());
    let picture = image::open(folder.path().join("lane.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (1600, 1200));
}

/// Ends after every pass in turn, goes on, and compares with a run that was not interrupted; the
/// files have to be the same, byte for byte.
#[test]
fn an_interrupted_run_goes_on_with_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tub");
    pedals(&data, 60);
    let whole = plan(&data, RECIPE, folder.path(), "whole");
    train(&whole, go_on).unwrap();
    let parts = plan(&data, RECIPE, folder.path(), "parts");
    for passes in 1..3 {
        let stop = |done| match done == passes {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let error = train(&parts, stop).unwrap_err();
        let expected = matches!(error, CloningError::Fit(FitError::Interrupted(n)) if n == passes);
        assert!(expected, "{error}");
        assert!(folder.path().join("parts.checkpoint").exists());
        assert!(!folder.path().join("parts.onnx").exists());
    }
    train(&parts, go_on).unwrap();
    let text = |name: &str| {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        text.replace("parts", "whole")
    };
    assert_eq!(text("parts.toml"), text("whole.toml"));
    let whole = model(folder.path(), "whole");
    // The names of the model differ in the metadata.
    let parts = model(folder.path(), "parts");
    let position = |model: &[u8], name: &[u8]| model.windows(5).filter(|w| *w == name).count();
    assert_eq!(position(&parts, b"parts"), position(&whole, b"whole"));
    let renamed = replaced(&parts, b"parts", b"whole");
    assert!(renamed == whole, "the weights differ");
}

fn replaced(bytes: &[u8], from: &[u8; 5], to: &[u8; 5]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for start in 0..bytes.len() - 5 {
        if &bytes[start..start + 5] == from {
            bytes[start..start + 5].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tub");
    pedals(&data, 60);
    train(&plan(&data, RECIPE, folder.path(), "it"), |_| {
        ControlFlow::Break(())
    })
    .unwrap_err();
    let other = RECIPE.replace("batch = 16", "batch = 8");
    let error = train(&plan(&data, &other, folder.path(), "it"), go_on).unwrap_err();
    assert!(
        matches!(error, CloningError::State(StateError::Other(_))),
        "{error}"
    );
    fs::write(folder.path().join("it.checkpoint"), "rubbish").unwrap();
    let error = train(&plan(&data, RECIPE, folder.path(), "it"), go_on).unwrap_err();
    assert!(
        matches!(error, CloningError::State(StateError::Damaged(_))),
        "{error}"
    );
}

#[test]
fn the_number_of_threads_does_not_change_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tub");
    pedals(&data, 60);
    // With dropout, which draws random numbers in every pass.
    let recipe = RECIPE.replace("small", "linear");
    let recipe = recipe.replace("width = 40\nheight = 28", "width = 64\nheight = 62");
    let recipe = recipe.replace("epochs = 3", "epochs = 1");
    let models: Vec<Vec<u8>> = [1, 3]
        .into_iter()
        .map(|threads| {
            let out = folder.path().join(threads.to_string());
            fs::create_dir(&out).unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let plan = plan(&data, &recipe, &out, "it");
            pool.build()
                .unwrap()
                .install(|| train(&plan, go_on))
                .unwrap();
            model(&out, "it")
        })
        .collect();
    assert!(models[0] == models[1]);
}

#[test]
fn training_ends_early_and_keeps_the_best_pass() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tub");
    pedals(&data, 60);
    let recipe = RECIPE.replace("epochs = 3", "epochs = 500\npatience = 1");
    let trained = train(&plan(&data, &recipe, folder.path(), "it"), go_on).unwrap();
    let (best, passes) = trained.passes;
    assert_eq!(best + 2, passes);
    assert!(passes < 500, "{passes}");
}

/// Udacity's cameras at the sides: only they show a mark that is off the steering, so that a network
/// that has learned from them steers back.
#[test]
fn cameras_at_the_sides_are_learned_and_not_held_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    recording(&log, 60, "steering", |_| String::new());
    fs::remove_file(log.join("data.csv")).unwrap();
    let mut rows = String::new();
    for index in 0..60 {
        // Positive to the right there.
        let steering = -steering(index).clamp(-1.0, 1.0);
        let names = format!("{index:04}.png,{index:04}.png,{index:04}.png");
        rows += &format!("{names},{steering},0.5,0,9\n");
    }
    fs::write(log.join("driving_log.csv"), rows).unwrap();
    let with = RECIPE.replace("[augment]", "[augment]\nside_cameras = 0.2");
    let with = plan(&log, &with, folder.path(), "with");
    let without = plan(&log, RECIPE, folder.path(), "without");
    let (with, without) = (
        train(&with, go_on).unwrap(),
        train(&without, go_on).unwrap(),
    );
    // What is held back is that of the centre, in both.
    assert_eq!(with.frames.1, without.frames.1);
    assert_eq!(with.frames.0, 3 * without.frames.0);
    assert_eq!(with.scores[0].mean, without.scores[0].mean);
    let data = folder.path().join("tub");
    pedals(&data, 60);
    let none = RECIPE.replace("[augment]", "[augment]\nside_cameras = 0.2");
    let error = train(&plan(&data, &none, folder.path(), "none"), go_on).unwrap_err();
    assert!(matches!(error, CloningError::NoSides), "{error}");
}
