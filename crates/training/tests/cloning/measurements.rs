//! Networks that get measured numbers beside the picture.

use std::ops::ControlFlow;

use pilotage_compiler::{Recipe, compile_recipe};
use pilotage_config::Source;
use pilotage_engine::{Bundle, ElementNumbers, MeasurementRule};
use pilotage_training::cloning::recipe::TrainingRecipe;
use pilotage_training::cloning::train;

use crate::support::{RECIPE, pedals, plan, recording};

/// How fast the car turns, which the picture does not show.
fn yaw_rate(index: usize) -> f64 {
    (index as f64 * 1.7).sin()
}

#[test]
fn measured_numbers_teach_what_the_picture_does_not_show() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tape");
    let columns = "steering,throttle,timestamp,measured_speed,measured_yaw_rate";
    recording(&data, 240, columns, |index| {
        let (yaw_rate, time) = (yaw_rate(index), index as f64 * 0.05);
        let speed = 5.0 + (index as f64 * 0.9).cos();
        format!("{},0.3,{time:.3},{speed},{yaw_rate}", 0.6 * yaw_rate)
    });
    let recipe = RECIPE
        .replace("epochs = 3", "epochs = 10")
        .replace("batch = 16", "batch = 8")
        .replace("shift = 0.02", "shift = 0.0");
    let measured = format!("measure = [\"speed\", \"yaw_rate\"]\n{recipe}");
    let error = |recipe: &str, name: &str| {
        let go_on = |_| ControlFlow::Continue(());
        let trained = train(&plan(&data, recipe, folder.path(), name), go_on).unwrap();
        trained.scores[0].network.root_mean_square
    };
    let (blind, aware) = (error(&recipe, "blind"), error(&measured, "aware"));
    assert!(
        aware < 0.3 * blind,
        "{aware} with the yaw rate, {blind} without"
    );

    // What was trained is what drives.
    let (recipe, text) = Recipe::read(&folder.path().join("aware.toml")).unwrap();
    let numbers = |rule: &MeasurementRule| match (&rule.scale, &rule.offset) {
        (&ElementNumbers::All(scale), &ElementNumbers::All(offset)) => (scale, offset),
        other => panic!("{other:?}"),
    };
    let [speed, yaw_rate] = &recipe.measurement[..] else {
        panic!("{:?}", recipe.measurement);
    };
    assert_eq!((&*speed.input, &*yaw_rate.input), ("speed", "yaw_rate"));
    // A deviation of 0.71, and a mean of 5 m/s.
    let ((speed, middle), turning) = (numbers(speed), numbers(yaw_rate));
    assert!((speed - 1.4).abs() < 0.15 && (middle + 5.0 * speed).abs() < 0.5);
    assert!((turning.0 - 1.4).abs() < 0.15 && turning.1 == 0.0);
    let source = Source::new("aware.toml", &text);
    let compiled = compile_recipe(recipe, &source, folder.path(), "aware").unwrap();
    let bundle = Bundle::read(&compiled.bytes).unwrap();
    assert_eq!(bundle.plan.inputs.len(), 3);
}

#[test]
fn what_was_not_measured_is_not_learned() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tub");
    pedals(&data, 60);
    let recipe = format!("measure = [\"speed\"]\n{RECIPE}");
    let go_on = |_| ControlFlow::Continue(());
    let error = train(&plan(&data, &recipe, folder.path(), "it"), go_on).unwrap_err();
    let expected = "60 of 60 records have no measured_speed";
    assert!(error.to_string().contains(expected), "{error}");
    for (key, expected) in [
        ("measure = [\"sped\"]", "did you mean `speed`?"),
        (
            "measure = [\"speed\", \"speed\"]",
            "\"speed\" is there twice",
        ),
        (
            "model = \"it.onnx\"\nmeasure = [\"speed\"]",
            "for the named networks",
        ),
    ] {
        let recipe = RECIPE.replace("network = \"small\"", key);
        let error = TrainingRecipe::parse("training.toml", &recipe).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
