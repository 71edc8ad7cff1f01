//! Engine files as a person uses them: signed, unsigned, damaged.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use minisign::KeyPair;
use pilotage::engines;

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

/// What `pilotage check` says to a car with the engine in `folder`; nothing when it is sound.
fn complaint(folder: &Path, keys: &[&KeyPair], required: bool) -> Option<String> {
    let keys: Vec<String> = keys.iter().map(|pair| pair.pk.to_base64()).collect();
    let text = format!(
        "[engine]\nfile = \"my.engine\"\ntrusted_keys = {keys:?}\nrequire_signature = {required}\n"
    );
    let car = folder.join("car.toml");
    fs::write(&car, text).unwrap();
    let output = pilotage(&["check", car.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    (!output.status.success()).then_some(said)
}

#[test]
fn a_car_takes_only_the_engines_it_is_told_to_trust() {
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

    // One that cannot be read is not taken for one that is not there.
    fs::remove_file(folder.join("my.engine.minisig")).unwrap();
    fs::create_dir(folder.join("my.engine.minisig")).unwrap();
    let unreadable = complaint(folder, &[&mine], false).unwrap();
    assert!(unreadable.contains("my.engine.minisig"), "{unreadable}");
}
