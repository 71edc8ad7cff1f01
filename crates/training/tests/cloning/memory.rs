//! Networks that get several pictures.

use std::ops::ControlFlow;

use pilotage_compiler::Recipe;
use pilotage_compiler::compile_recipe;
use pilotage_config::Source;
use pilotage_engine::{AfterGap, Bundle};
use pilotage_training::cloning::recipe::TrainingRecipe;
use pilotage_training::cloning::train;

use crate::support::{RECIPE, plan, recording, steering};

/// How fast the lane's mark moves, which one picture does not show.
fn movement(index: usize) -> f64 {
    4.0 * (steering(index) - steering(index.saturating_sub(1)))
}

#[test]
fn two_pictures_teach_what_one_does_not_show() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tub");
    recording(&data, 240, "steering,throttle,timestamp", |index| {
        format!("{},0.3,{:.3}", movement(index), index as f64 * 0.05)
    });
    let recipe = RECIPE
        .replace("epochs = 3", "epochs = 16")
        .replace("batch = 16", "batch = 8")
        .replace("shift = 0.02", "shift = 0.0\nmirror = false");
    let memory = "[memory]\npictures = 2\nafter_gap = \"reset\"\n[augment]";
    let with_two = recipe.replace("[augment]", memory);
    let error = |recipe: &str, name: &str| {
        let go_on = |_| ControlFlow::Continue(());
        let trained = train(&plan(&data, recipe, folder.path(), name), go_on).unwrap();
        trained.scores[0].network.root_mean_square
    };
    let (one, two) = (error(&recipe, "one"), error(&with_two, "two"));
    assert!(two < 0.5 * one, "{two} with two pictures, {one} with one");

    // What was trained is what drives.
    let (recipe, text) = Recipe::read(&folder.path().join("two.toml")).unwrap();
    assert_eq!(
        (recipe.memory.pictures, recipe.memory.after_gap),
        (2, AfterGap::Reset)
    );
    let source = Source::new("two.toml", &text);
    let compiled = compile_recipe(recipe, &source, folder.path(), "two").unwrap();
    let bundle = Bundle::read(&compiled.bytes).unwrap();
    let input = bundle.plan.port(&bundle.plan.inputs[0]);
    assert_eq!(input.shape.iter().product::<usize>(), 40 * 28 * 6);
}

#[test]
fn what_a_training_does_not_have_is_refused() {
    for (memory, reason) in [
        ("pictures = 0", "must be 1 to 64"),
        ("pictures = 2\naxis = \"time\"", "along the channels"),
        (
            "[[memory.state]]\ninput = \"h\"\noutput = \"h\"",
            "neither states nor signals",
        ),
    ] {
        let recipe = RECIPE.replace("[augment]", &format!("[memory]\n{memory}\n[augment]"));
        let error = TrainingRecipe::parse("training.toml", &recipe).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let sides = "[memory]\npictures = 2\n[augment]\nside_cameras = 0.2";
    let error = TrainingRecipe::parse("training.toml", &RECIPE.replace("[augment]", sides));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("no pictures before them"), "{error}");
}
