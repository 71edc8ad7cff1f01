//! Models that bring their recipe in their metadata.

use std::fs;
use std::path::Path;

use pilotage_graph::{Graph, RECIPE_KEY, ReadOptions};
use serde_json::Value;
use tempfile::TempDir;

use crate::{ENGINES, frames, model, pilotage, printed};

/// The shipped model with a recipe in its metadata, as `pilotage-training train` writes it; in fp32,
/// compared on the pictures in `frames`.
fn trained(folder: &Path, change: impl Fn(String) -> String) {
    let recipe = fs::read_to_string(format!("{ENGINES}/pilotnet.toml")).unwrap();
    let recipe = change(recipe.replace("\"int8\"", "\"fp32\""));
    let bytes = fs::read(model()).unwrap();
    let graph = Graph::read(&bytes, &ReadOptions::default()).unwrap();
    let model = graph.write_with_metadata(&[(RECIPE_KEY, &recipe)]);
    fs::write(folder.join("trained.onnx"), model).unwrap();
}

#[test]
fn a_trained_model_is_compiled_by_the_recipe_in_its_metadata() {
    let folder = TempDir::new().unwrap();
    frames(folder.path(), 9);
    trained(folder.path(), |recipe| recipe);
    let here = folder.path().join("here");
    fs::create_dir(&here).unwrap();
    // Paths in it are relative to the model.
    let compile = |more: &[&str]| {
        let output = pilotage(&here, &[&["compile", "../trained.onnx"], more].concat());
        let lines = String::from_utf8(output.stderr.clone()).unwrap();
        printed(output).map(|_| lines)
    };
    let lines = compile(&["--save-recipe=saved.toml"]).unwrap();
    let line = "../trained.onnx: compiled by the recipe in its metadata, with the pictures in \
                \"../frames\"; options replace its settings\n";
    assert!(lines.contains(line), "{lines}");
    let inspected = |engine: &str| -> Value {
        let json = printed(pilotage(&here, &["inspect", "--json", engine]));
        serde_json::from_str(&json.unwrap()).unwrap()
    };
    let engine = inspected("trained.engine");
    assert_eq!(engine["precision"], "fp32");
    assert_eq!(engine["recipe"]["model"], "trained.onnx");
    assert_eq!(engine["recipe"]["input"]["crop"]["y"], 240);
    assert_eq!(engine["outputs"][1]["meaning"], "yaw_rate");
    // The recipe that it saves compiles the same from this folder.
    printed(pilotage(&here, &["compile", "saved.toml"])).unwrap();
    let saved = inspected("saved.engine");
    for key in [
        "outputs",
        "preprocessing",
        "domain",
        "gate",
        "source_sha256",
    ] {
        assert_eq!(saved[key], engine[key], "{key}");
    }

    compile(&["--gate=speed=3", "--precision=fp16"]).unwrap();
    let engine = inspected("trained.engine");
    assert_eq!(engine["precision"], "fp16");
    assert_eq!(engine["gate"][0]["most_worst"], 3.0);
    for (options, expected) in [
        (&["--domain=physical"][..], "never arms a physical car"),
        (&["--outputs=speed"], "has 2 outputs, not 1"),
        (&["--outputs=speed,-"], "a car needs either"),
        (
            &["--throttle=0.2"],
            "a constant throttle is for a model that only steers",
        ),
        (&["--gate=steering=1"], "no [[output]] of the recipe"),
    ] {
        let error = compile(options).unwrap_err();
        assert!(error.contains(expected), "{options:?}: {error}");
    }
}

#[test]
fn a_recipe_in_metadata_that_cannot_be_used_is_one_line() {
    let folder = TempDir::new().unwrap();
    let refused = |change: &dyn Fn(String) -> String| {
        trained(folder.path(), change);
        printed(pilotage(folder.path(), &["compile", "trained.onnx"])).unwrap_err()
    };
    let missing = refused(&|recipe| recipe.replace("\"frames\"", "\"../tub\""));
    assert!(
        missing.contains("names the pictures in \"../tub\"")
            && missing.contains("--calibration FOLDER"),
        "{missing}"
    );
    let misspelt = refused(&|recipe| recipe.replace("colour", "color"));
    assert!(
        misspelt
            .contains("trained.onnx (the recipe in its metadata):12: unknown key `color`: did you"),
        "{misspelt}"
    );
    for text in [
        "",
        "\"\\u001b[2J\" = 1\n",
        "model",
        "\0\u{1b}[2J",
        "[[[\n\n",
        "model = 3\n",
    ] {
        let error = refused(&|_| text.to_owned());
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
        assert!(
            error.contains("write a recipe file") && !error.contains('\x1b'),
            "{error}"
        );
    }
    let long = refused(&|recipe| recipe + &"#".repeat(1 << 20));
    assert!(long.contains("are too many"), "{long}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
