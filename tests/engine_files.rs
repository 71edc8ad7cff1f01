//! Engine files from the command line: signed, unsigned, damaged.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use minisign::KeyPair;
use pilotage::engines;
use serde_json::Value;

fn pilotage(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

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
