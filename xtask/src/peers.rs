//! `cargo xtask peers`: compares this engine with others on the shipped model (benches/peers).

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use tooling::checkout::Checkout;
use tooling::invocation::Invocation;
use tooling::requirements;

/// The options: what to measure, and for how long.
#[derive(Debug, Args)]
pub struct Options {
    /// How often every engine is measured
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Inferences timed in each round
    #[arg(long, default_value_t = 500)]
    count: usize,
    /// Only these engines besides Pilotage's own: onnxruntime, openvino, litert, ncnn, rten, tract,
    /// camera
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// Compare on these networks instead of the shipped one, with ONNX Runtime, OpenVINO and LiteRT: ONNX
    /// files with a picture as input and two numbers as outputs, or with a recipe NETWORK.toml beside
    #[arg(long, value_name = "NETWORK.onnx", num_args = 1.., conflicts_with = "only")]
    models: Vec<PathBuf>,
    /// With --models: the numbers of threads
    #[arg(long, value_name = "N", num_args = 1.., requires = "models")]
    threads: Vec<usize>,
    /// Write all results, the machine and the versions to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Makes the Python environment, builds, and measures. Returns true when all steps succeeded and
/// Pilotage's own answers are correct. When another engine fails or answers wrongly, its row of the
/// table states so.
pub fn run(checkout: &Checkout, options: &Options) -> Result<bool> {
    ensure!(
        Invocation::new("taskset --version").answer().is_some(),
        "there is no taskset, which pins programs to cores: install Debian's package util-linux"
    );
    let scripts = checkout.root().join("benches/peers");
    let python = environment(checkout)?;
    let others = checkout.builds().join("peers");
    let manifest = scripts.join("rust/Cargo.toml");
    let is_shipped = options.models.is_empty();
    let own = "cargo build --release --package pilotage --bin pilotage --example peer";
    let mut builds = vec![Invocation::new(own).within(checkout.root())];
    if is_shipped {
        builds.push(
            Invocation::new("cargo build --release --locked --manifest-path")
                .path(&manifest)
                .arg("--target-dir")
                .path(&others),
        );
    }
    for build in builds {
        ensure!(build.succeeds()?, "`{build}` failed");
    }
    let built = checkout.builds().join("release");
    let script = match is_shipped {
        true => "peers.py",
        false => "networks.py",
    };
    let mut peers = Invocation::of(&python)
        // No __pycache__ in the checkout.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .path(&scripts.join(script))
        .arg("--pilotage")
        .path(&built.join("pilotage"))
        .arg("--example")
        .path(&built.join("examples/peer"))
        .arg("--folder")
        .path(&checkout.builds().join("peers/models"))
        .arg(format!("--rounds={}", options.rounds))
        .arg(format!("--count={}", options.count));
    if let Some(file) = &options.json {
        peers = peers.arg("--json").path(file);
    }
    match is_shipped {
        true => {
            peers = peers
                .arg("--rust")
                .path(&others.join("release/pilotage-peers"))
        }
        false => {
            peers = options
                .models
                .iter()
                .fold(peers.arg("--models"), |peers, model| peers.path(model))
        }
    }
    if !options.threads.is_empty() {
        peers = peers.arg("--threads");
    }
    for threads in &options.threads {
        peers = peers.arg(threads.to_string());
    }
    if !options.only.is_empty() {
        peers = peers.arg("--only");
    }
    for name in &options.only {
        peers = peers.arg(name.clone());
    }
    peers.succeeds()
}

/// The Python of target/peers/venv, which has only the packages of requirements.txt.
pub fn environment(checkout: &Checkout) -> Result<PathBuf> {
    let file = checkout.root().join("benches/peers/requirements.txt");
    let required = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let folder = checkout.root().join("target/peers/venv");
    let python = folder.join("bin/python");
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|there| there == required) {
        return Ok(python);
    }
    let Some(system) = requirements::python() else {
        bail!(
            "there is no Python 3.11 or later that makes virtual environments: install Debian's \
             packages python3 and python3-venv"
        );
    };
    println!("==> installing the other engines in {}", folder.display());
    for step in [
        Invocation::new(system)
            .arg("-m")
            .arg("venv")
            .arg("--clear")
            .path(&folder),
        Invocation::of(&python)
            .arg("-m")
            .arg("pip")
            .arg("install")
            .arg("--quiet")
            .arg("--disable-pip-version-check")
            .arg("--requirement")
            .path(&file),
    ] {
        ensure!(step.succeeds()?, "`{step}` failed");
    }
    fs::write(&installed, required).with_context(|| installed.display().to_string())?;
    Ok(python)
}
