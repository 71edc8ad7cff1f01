//! The model, its recipe and its metadata, and what is refused.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use pilotage_compiler::{Recipe, compile_recipe};
use pilotage_config::Source;
use pilotage_dataset::{RECORDING, write_domain};
use pilotage_engine::{Bundle, Meaning};
use pilotage_graph::{RECIPE_KEY, ReadOptions, metadata};
use pilotage_training::cloning::recipe::{TrainingRecipe, TrainingRecipeError};
use pilotage_training::cloning::{CloningError, Plan, Trained, train};
use pilotage_vehicle::Domain;

use crate::support::{RECIPE, model, pedals, plan, recording, steering};

fn run(plan: &Plan) -> Result<Trained, CloningError> {
    train(plan, |_| ControlFlow::Continue(()))
}

fn recipe_of(folder: &Path, name: &str) -> (Recipe, String) {
    Recipe::read(&folder.join(format!("{name}.toml"))).unwrap()
}

#[test]
fn the_recipe_compiles_as_it_is_and_lies_in_the_model_too() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tub");
    pedals(&data, 60);
    let outputs = "[[output]]\nmeaning = \"steering\"\nscale = -0.5\noffset = 0.25\n\
                   [[output]]\nmeaning = \"throttle\"\n[augment]";
    let input = "[input]\ncolour = \"bgr\"\nmean = [0.1, 0.2, 0.3]";
    let training = RECIPE.replace("[augment]", outputs);
    let training = training.replace("[input]", input);
    run(&plan(&data, &training, folder.path(), "car")).unwrap();
    let (recipe, text) = recipe_of(folder.path(), "car");
    let trained = TrainingRecipe::parse("training.toml", &training).unwrap();
    assert_eq!(recipe.input, trained.input);
    assert_eq!(recipe.domain, Domain::Physical);
    assert_eq!(recipe.model, Path::new("car.onnx"));
    assert_eq!(
        (recipe.output[0].scale, recipe.output[0].offset),
        (-0.5, 0.25)
    );
    let meanings: Vec<Meaning> = recipe.output.iter().map(|output| output.meaning).collect();
    assert_eq!(meanings, [Meaning::Steering, Meaning::Throttle]);
    assert_eq!(
        recipe.calibration.as_ref().unwrap().frames,
        Path::new("tub")
    );

    let entries = metadata(&model(folder.path(), "car"), &ReadOptions::default()).unwrap();
    assert_eq!(entries[RECIPE_KEY], text);

    let source = Source::new("car.toml", &text);
    let compiled = compile_recipe(recipe, &source, folder.path(), "car").unwrap();
    let bundle = Bundle::read(&compiled.bytes).unwrap();
    assert_eq!(bundle.manifest.domain, Domain::Physical);
}

#[test]
fn speed_and_yaw_rate_are_learned_in_their_units() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("log");
    recording(&data, 60, "v,w", |index| {
        format!("6.5,{}", 3.0 * steering(index))
    });
    let grey = RECIPE.replace("[input]", "[input]\ncolour = \"grey\"\nlayout = \"nhwc\"");
    write_domain(&data, Domain::Simulated).unwrap();
    let trained = run(&plan(&data, &grey, folder.path(), "car")).unwrap();
    assert_eq!(trained.scores[0].meaning, Meaning::Speed);
    // A speed that never changes is known from the start.
    assert!(trained.scores[0].mean.root_mean_square < 1e-6);
    let (recipe, text) = recipe_of(folder.path(), "car");
    assert_eq!(recipe.domain, Domain::Simulated);
    let scales: Vec<(f32, f32)> = (recipe.output.iter())
        .map(|output| (output.scale, output.offset))
        .collect();
    // The mean of a speed that never changes; the deviation of the yaw rate, 3 * 0.7 / sqrt(2).
    assert_eq!(scales[0], (0.01, 6.5));
    assert!(
        (1.4..=1.6).contains(&scales[1].0) && scales[1].1 == 0.0,
        "{scales:?}"
    );
    let source = Source::new("car.toml", &text);
    compile_recipe(recipe, &source, folder.path(), "car").unwrap();
}

#[test]
fn a_steering_network_writes_its_throttle_into_the_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("log");
    recording(&data, 60, "steering", |index| {
        steering(index).clamp(-1.0, 1.0).to_string()
    });
    let error = run(&plan(&data, RECIPE, folder.path(), "car")).unwrap_err();
    assert!(
        matches!(
            &error,
            CloningError::Labels {
                folder,
                reason: TrainingRecipeError::NoLabels
            } if *folder == data
        ),
        "{error}"
    );
    let constant = format!("throttle = {{ constant = 0.15 }}\n{RECIPE}");
    let trained = run(&plan(&data, &constant, folder.path(), "car")).unwrap();
    assert_eq!(trained.scores.len(), 1);
    let text = fs::read_to_string(folder.path().join("car.toml")).unwrap();
    assert!(
        text.contains("\nthrottle = { constant = 0.15 }\n\n[input]"),
        "{text}"
    );
    assert_eq!(text.matches("[[output]]").count(), 1);
}

#[test]
fn errors_name_the_file_the_line_and_the_key() {
    let error = |text: &str| {
        let error = TrainingRecipe::parse("training.toml", text).unwrap_err();
        let error = error.to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    for (from, to, expected) in [
        ("network", "netwrk", "training.toml:2: unknown key `netwrk`"),
        ("small", "resnet", "training.toml:2"),
        ("width = 40", "width = 8", "too small for the network"),
        (
            "shift = 0.02",
            "shift = 0.5",
            "`augment.shift`: must be 0 to 0.25",
        ),
        (
            "batch = 16",
            "batch = 0",
            "`training.batch`: must be 1 to 4096",
        ),
        ("epochs = 3", "rate = nan", "`training.rate`"),
        ("epochs = 3", "held_back = 0.9", "`training.held_back`"),
        ("x = 0", "x = -1", "training.toml:5"),
        (
            "[augment]",
            "[[output]]\nmeaning = \"steering\"\n[augment]",
            "throttle = { constant = 0.15 }",
        ),
        (
            "[augment]",
            "[[output]]\nmeaning = \"steering\"\n[[output]]\nmeaning = \"speed\"\n[augment]",
            "one [[output]] each",
        ),
        (
            "network",
            "throttle = { constant = 2.0 }\nnetwork",
            "must be above 0 and at most 1",
        ),
    ] {
        let error = error(&RECIPE.replacen(from, to, 1));
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn bad_recordings_end_in_an_error_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let refused = |data: &str, recipe: &str| {
        let error = run(&plan(&at(data), recipe, folder.path(), "car")).unwrap_err();
        let error = error.to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    assert!(refused("none", RECIPE).contains("none"));
    pedals(&at("few"), 19);
    assert!(refused("few", RECIPE).contains("19 frames are too few"));
    pedals(&at("tub"), 24);
    let outside = RECIPE.replace("height = 26", "height = 27");
    assert!(
        refused("tub", &outside).contains("0000.png"),
        "a crop outside of the picture"
    );
    let twist =
        format!("{RECIPE}\n[[output]]\nmeaning = \"speed\"\n[[output]]\nmeaning = \"yaw_rate\"\n");
    let error = refused("tub", &twist);
    assert!(error.contains("24 of 24 records have no speed"), "{error}");

    let mut twice = plan(&at("tub"), RECIPE, folder.path(), "car");
    twice.validation = vec![at("tub")];
    let error = run(&twice).unwrap_err();
    assert!(matches!(error, CloningError::Twice(_)), "{error}");
    pedals(&at("other"), 20);
    twice.validation = vec![at("other")];
    assert_eq!(run(&twice).unwrap().frames, (24, 20));
}

#[test]
fn the_domain_is_that_of_the_recordings_and_is_asked_for_only_if_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["physical", "simulated", "unknown"] {
        pedals(&at(name), 24);
    }
    write_domain(&at("simulated"), Domain::Simulated).unwrap();
    fs::remove_file(at("unknown").join(RECORDING)).unwrap();
    let recipe = RECIPE.replace("epochs = 3", "epochs = 1");
    let train = |data: &[&str], domain: Option<Domain>| {
        let name = format!("{}-{domain:?}", data.join("-"));
        let mut plan = plan(&at(data[0]), &recipe, folder.path(), &name);
        plan.data = data.iter().map(|name| at(name)).collect();
        plan.recipe.domain = domain;
        let trained = run(&plan).map_err(|error| error.to_string());
        trained.map(|_| recipe_of(folder.path(), &name).0.domain)
    };
    let (simulated, physical) = (Domain::Simulated, Domain::Physical);
    assert_eq!(train(&["simulated"], None), Ok(simulated));
    assert_eq!(train(&["unknown"], Some(physical)), Ok(physical));
    assert_eq!(
        train(&["simulated", "physical"], Some(physical)),
        Ok(physical)
    );
    for (data, domain, expected) in [
        (&["unknown"][..], None, "add --domain physical"),
        (&["physical", "unknown"], None, "unknown: does not say"),
        (&["simulated", "physical"], None, "say with --domain"),
        (&["simulated"], Some(physical), "is of a simulated car"),
    ] {
        let error = train(data, domain).unwrap_err();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_throttle_that_follows_the_steering_is_computed_by_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("log");
    recording(&data, 60, "steering", |index| {
        steering(index).clamp(-1.0, 1.0).to_string()
    });
    let recipe = format!("throttle = {{ straight = 0.5, full = 0.2 }}\n{RECIPE}");
    let trained = run(&plan(&data, &recipe, folder.path(), "car")).unwrap();
    assert_eq!(trained.scores.len(), 1);
    let (recipe, text) = recipe_of(folder.path(), "car");
    assert_eq!(recipe.throttle, None);
    let source = Source::new("car.toml", &text);
    let compiled = compile_recipe(recipe, &source, folder.path(), "car").unwrap();
    let bundle = Bundle::read(&compiled.bytes).unwrap();
    let meanings: Vec<Meaning> = bundle
        .manifest
        .outputs
        .iter()
        .map(|it| it.meaning)
        .collect();
    assert_eq!(meanings, [Meaning::Steering, Meaning::Throttle]);
    // The fp32 answers to the frames of the gate.
    let (answers, _) = bundle.sections["gate.answers"].as_chunks::<4>();
    let answers: Vec<f32> = answers.iter().map(|&it| f32::from_le_bytes(it)).collect();
    assert!(answers.len() >= 4);
    for pair in answers.chunks(2) {
        let expected = 0.5 - 0.3 * pair[0].abs().min(1.0);
        assert!((pair[1] - expected).abs() < 1e-5, "{pair:?}");
    }
    for (throttle, expected) in [
        ("{ straight = 0.5 }", "must be { constant = 0.15 }, or"),
        (
            "{ constant = 0.1, full = 0.2 }",
            "must be { constant = 0.15 }, or",
        ),
        (
            "{ straight = 0.5, full = -0.2 }",
            "`throttle.full`: must be above 0",
        ),
    ] {
        let text = format!("throttle = {throttle}\n{RECIPE}");
        let error = TrainingRecipe::parse("training.toml", &text).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
