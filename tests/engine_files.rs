//! Engine files from the command line: signed, unsigned, damaged.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

use minisign::KeyPair;
use pilotage::engines;
use pilotage_engine::{Bundle, FrameSize};
use serde_json::{Value, json};

#[path = "support/program.rs"]
mod program;

use program::pilotage;

/// Writes the compiled-in engine to `folder`.
fn engine_file(folder: &Path) -> Vec<u8> {
    let bytes = engines::compiled_in("pilotnet").unwrap();
    fs::write(folder.join("my.engine"), bytes).unwrap();
    bytes.to_vec()
}

/// Signs `bytes` as the signature of the engine in `folder`.
fn sign(pair: &KeyPair, bytes: &[u8], folder: &Path) {
    let signature = minisign::sign(None, &pair.sk, bytes, Some("for tests"), None).unwrap();
    fs::write(folder.join("my.engine.minisig"), signature.into_string()).unwrap();
}

/// The error of `pilotage check` for a car with the engine in `folder`; `None` if the car is valid.
fn complaint(folder: &Path, keys: &[&KeyPair], required: bool) -> Option<String> {
    let keys: Vec<String> = keys.iter().map(|pair| pair.pk.to_base64()).collect();
    let text = format!(
        "[engine]\nfile = \"my.engine\"\ntrusted_keys = {keys:?}\nrequire_signature = {required}\n"
    );
    let car = folder.join("car.toml");
    fs::write(&car, text).unwrap();
    let output = pilotage(&["check", car.to_str().unwrap()]);
    let printed = String::from_utf8(output.stderr).unwrap();
    (!output.status.success()).then_some(printed)
}

#[test]
fn a_car_accepts_only_engines_with_a_trusted_signature() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let [mine, other] = [(); 2].map(|()| KeyPair::generate_unencrypted_keypair().unwrap());
    let bytes = engine_file(folder);

    assert_eq!(complaint(folder, &[], false), None);
    assert_eq!(complaint(folder, &[&mine], false), None);
    let unsigned = complaint(folder, &[&mine], true).unwrap();
    assert!(unsigned.contains("it has no signature"), "{unsigned}");

    sign(&mine, &bytes, folder);
    assert_eq!(complaint(folder, &[&mine], true), None);
    assert_eq!(complaint(folder, &[&other, &mine], true), None);
    for required in [true, false] {
        let unknown = complaint(folder, &[&other], required).unwrap();
        assert!(
            unknown.contains("not among `engine.trusted_keys`"),
            "{unknown}"
        );
    }

    sign(&mine, b"another engine", folder);
    for required in [true, false] {
        let wrong = complaint(folder, &[&mine], required).unwrap();
        assert!(wrong.contains("its signature is wrong"), "{wrong}");
    }

    // An unreadable signature does not count as a missing one.
    fs::remove_file(folder.join("my.engine.minisig")).unwrap();
    fs::create_dir(folder.join("my.engine.minisig")).unwrap();
    let unreadable = complaint(folder, &[&mine], false).unwrap();
    assert!(unreadable.contains("my.engine.minisig"), "{unreadable}");
}

/// The output of `pilotage inspect` for the engine in `folder`, and its exit status.
fn inspect(folder: &Path, more: &[&str]) -> (String, Option<i32>) {
    let file = folder.join("my.engine");
    let output = pilotage(&[&["inspect", file.to_str().unwrap()], more].concat());
    let printed = [output.stdout, output.stderr].concat();
    (String::from_utf8(printed).unwrap(), output.status.code())
}

#[test]
fn inspect_shows_what_is_in_an_engine() {
    let shown = pilotage(&["inspect", "pilotnet", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["name"], "pilotnet");
    assert_eq!(shown["domain"], "simulated");
    assert_eq!(shown["signature"]["state"], "compiled-in");
    assert_eq!(
        shown["inputs"][0]["shape"],
        serde_json::json!([1, 66, 200, 3])
    );
    let bytes = engines::compiled_in("pilotnet").unwrap();
    assert_eq!(shown["bytes"], bytes.len());

    let layers = shown["layers"].as_array().unwrap();
    let layer = |name: &str| layers.iter().find(|layer| layer["name"] == name).unwrap();
    // PilotNet's first layer: 24 kernels of 5x5 on 3 channels, 31x98 windows.
    assert_eq!(layer("conv1")["multiply_adds"], 24 * 5 * 5 * 3 * 31 * 98);
    assert_eq!(layer("fc1")["multiply_adds"], 1152 * 1164);
    let table = String::from_utf8(pilotage(&["inspect", "pilotnet"]).stdout).unwrap();
    for section in shown["sections"].as_array().unwrap() {
        assert!(
            table.contains(section["sha256"].as_str().unwrap()),
            "{table}"
        );
    }
    for layer in layers {
        assert!(table.contains(layer["name"].as_str().unwrap()), "{table}");
    }
    let list = String::from_utf8(pilotage(&["inspect"]).stdout).unwrap();
    assert!(list.contains("pilotnet"), "{list}");
}

#[test]
fn inspect_reports_the_state_of_the_signature() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    let bytes = engine_file(folder);
    complaint(folder, &[&pair], true).unwrap();
    let car = folder.join("car.toml");
    let by_car = ["--car", car.to_str().unwrap()];

    let (printed, status) = inspect(folder, &[]);
    assert!(printed.contains("signature    none"), "{printed}");
    assert_eq!(status, Some(0));
    let (printed, status) = inspect(folder, &by_car);
    assert!(
        printed.contains("REFUSED: it has no signature"),
        "{printed}"
    );
    assert_eq!(status, Some(1));
    sign(&pair, &bytes, folder);
    let (printed, status) = inspect(folder, &[]);
    assert!(printed.contains("not checked"), "{printed}");
    assert_eq!(status, Some(0));
    let (printed, status) = inspect(folder, &by_car);
    assert!(printed.contains("good: for tests"), "{printed}");
    assert_eq!(status, Some(0));
}

#[test]
fn inspect_reports_invalid_engine_files() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut bytes = engine_file(folder);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let damaged = "is damaged: its checksum is wrong; copy it again";
    for (bytes, expected) in [
        (&bytes[..], damaged),
        (&bytes[..last], "copy it again"),
        (&b""[..], "not an engine file"),
        (b"GIF89a, and then some", "not an engine file"),
    ] {
        fs::write(folder.join("my.engine"), bytes).unwrap();
        let (printed, status) = inspect(folder, &[]);
        assert!(printed.contains(expected), "{printed}");
        assert_eq!(status, Some(2));
    }
    let unknown = pilotage(&["inspect", "pilotnt"]).stderr;
    assert!(
        String::from_utf8(unknown)
            .unwrap()
            .contains("did you mean `pilotnet`?")
    );
}

/// Writes the compiled-in engine to `folder`, as if it had been compiled on frames of this size.
fn engine_of(folder: &Path, [width, height]: [u32; 2], crop: Option<Value>) {
    let mut bundle = Bundle::read(engines::compiled_in("pilotnet").unwrap()).unwrap();
    bundle.manifest.frame_size = Some(FrameSize { width, height });
    let preprocessing = bundle.manifest.preprocessing.as_object_mut().unwrap();
    preprocessing.remove("crop");
    preprocessing.extend(crop.map(|crop| ("crop".to_owned(), crop)));
    fs::write(folder.join("my.engine"), bundle.write().unwrap()).unwrap();
}

/// The status, and what is printed on both streams.
fn outcome(arguments: &[&str]) -> (Option<i32>, String) {
    let output = pilotage(arguments);
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(printed).unwrap())
}

#[test]
fn a_camera_of_another_size_than_the_engines_frames_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let car = folder.join("car.toml");
    let car = car.to_str().unwrap();
    fs::write(car, "[engine]\nfile = \"my.engine\"\n").unwrap();
    let crop = |y: u32| Some(json!({"x": 0, "y": y, "width": 160, "height": 60}));

    // The crop of a frame of 160x120 is another part of one of 640x480.
    engine_of(folder, [160, 120], crop(60));
    let results = folder.join("results");
    let race = ["--circuits", "simple", "--out", results.to_str().unwrap()];
    for command in [
        &["check", car][..],
        &["drive", "--car", car, "--pace", "fast", "--time-limit", "1"],
        &[&["race", "--car", car], &race[..]].concat(),
    ] {
        let (status, printed) = outcome(command);
        assert_eq!(status, Some(2), "{command:?}: {printed}");
        for expected in [
            "`pilotnet` was compiled for frames of 160x120",
            "the camera's frames of 640x480",
            "set `camera.width` to 160 and `camera.height` to 120",
        ] {
            assert!(printed.contains(expected), "{command:?}: {printed}");
        }
    }
    assert!(!results.exists(), "nothing is raced");
    let (_, findings) = outcome(&["doctor", "--car", car, "--json"]);
    let findings: Value = serde_json::from_str(&findings).unwrap();
    assert_eq!(findings[0]["level"], "problem", "{findings}");

    // The whole picture may be of any size, but not of another shape.
    engine_of(folder, [1280, 720], None);
    let (status, printed) = outcome(&["check", car]);
    assert_eq!(status, Some(0), "{printed}");
    assert!(printed.contains("another aspect ratio"), "{printed}");
    assert!(printed.contains("sound, with 1 warning"), "{printed}");
    for (size, crop) in [([160, 120], None), ([640, 480], crop(240))] {
        engine_of(folder, size, crop);
        let (status, printed) = outcome(&["check", car]);
        assert_eq!(status, Some(0), "{printed}");
        assert_eq!(printed, format!("{car}: sound\n"));
    }
}

#[test]
fn a_crop_outside_the_cameras_frames_is_reported_with_its_engine_and_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let car = folder.path().join("small.toml");
    fs::write(&car, "[camera]\nwidth = 160\nheight = 120\n").unwrap();
    let car = car.to_str().unwrap();
    for command in [
        &["check", car][..],
        &["drive", "--car", car, "--pace", "fast", "--time-limit", "1"],
    ] {
        let (status, printed) = outcome(command);
        assert_eq!(status, Some(2), "{printed}");
        assert_eq!(printed.lines().count(), 1, "{printed}");
        for expected in [
            "engine `pilotnet` crops 640x240 pixels at (0, 240)",
            "the camera's frames of 160x120: set `camera.width` and `camera.height`",
            "at least 640x480",
        ] {
            assert!(printed.contains(expected), "{command:?}: {printed}");
        }
    }
    assert!(outcome(&["check", car]).1.contains("small.toml: "));
}

#[test]
fn an_engine_of_the_simulator_is_a_warning_for_a_physical_car() {
    let folder = tempfile::tempdir().unwrap();
    engine_file(folder.path());
    let donkeycar = Path::new(env!("CARGO_MANIFEST_DIR")).join("cars/donkeycar.toml");
    let text = fs::read_to_string(donkeycar).unwrap();
    let car = folder.path().join("car.toml");
    fs::write(&car, text.replace("mine.engine", "my.engine")).unwrap();
    let car = car.to_str().unwrap();
    let trained = "pilotnet was trained in the simulator, so the guard will not arm this car";
    let (status, printed) = outcome(&["check", car]);
    assert_eq!(status, Some(0), "{printed}");
    assert!(printed.contains(trained), "{printed}");
    let (_, findings) = outcome(&["doctor", "--car", car, "--json"]);
    let findings: Value = serde_json::from_str(&findings).unwrap();
    assert_eq!(findings[0]["level"], "warning", "{findings}");
    assert!(findings[0]["found"].to_string().contains(trained));
    assert!(findings[0]["fix"].to_string().contains("engine.file"));
}
