//! What runs in the emulator: an arm64 Python with the other engines' wheels, this engine, the models
//! in every engine's format, and the plugin that counts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

use super::engines::Emulated;
use crate::peers;

/// The Debian packages of the root, with what they depend on.
const DEBIAN: &str = "python3 libstdc++6";

/// The packages of benches/peers/requirements.txt that the two engines need.
const WHEELS: [&str; 10] = [
    "ai-edge-litert",
    "onnxruntime",
    "numpy",
    "backports.strenum",
    "flatbuffers",
    "ml_dtypes",
    "packaging",
    "protobuf",
    "tqdm",
    "typing_extensions",
];

const ARM: &str = "aarch64-unknown-linux-gnu";

/// Makes everything under target/arm-table that is not there yet, and builds. `pilotage` compiles the
/// network, if it is given.
///
/// # Errors
/// When a step fails.
pub fn emulated(checkout: &Checkout, pilotage: Option<&Path>) -> Result<Emulated> {
    let folder = checkout.root().join("target/arm-table");
    let scripts = checkout.root().join("benches/peers");
    fs::create_dir_all(&folder)?;
    let root = folder.join("root");
    cross::arm_root::extract(DEBIAN, &root)?;
    let host_python = peers::environment(checkout)?;
    let (site, versions) = wheels(&host_python, &scripts, &folder, &root)?;
    let repeat = runner(checkout)?;
    let plugin = plugin(&scripts, &folder)?;
    let models = folder.join("models");
    let emulated = Emulated {
        folder,
        root,
        site,
        models,
        scripts,
        repeat,
        plugin,
        versions,
    };
    let compile = match pilotage {
        Some(program) => Invocation::of(program),
        None => Invocation::new("cargo run --release --quiet --package pilotage --"),
    };
    write_models(checkout, &emulated, &compile, &host_python)?;
    Ok(emulated)
}

/// Installs the wheels for the root's Python, without running it. Returns their folder, and the
/// names and versions of the engines.
fn wheels(python: &Path, scripts: &Path, folder: &Path, root: &Path) -> Result<(PathBuf, String)> {
    let file = scripts.join("requirements.txt");
    let all = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let required = pinned(&all, &WHEELS)?;
    let version = python_version(&root.join("usr/lib"))?;
    let site = folder.join("site");
    let expected = format!("Python {version}\n{}\n", required.join("\n"));
    let installed = folder.join("site.txt");
    let versions = required[..2].join(", ").replace("==", " ");
    if fs::read_to_string(&installed).is_ok_and(|there| there == expected) {
        return Ok((site, versions));
    }
    println!("==> installing arm64 wheels in {}", site.display());
    let _ = fs::remove_dir_all(&site);
    let mut pip = Invocation::of(python)
        .arg("-m")
        .arg("pip")
        .arg("install")
        .arg("--quiet")
        .arg("--disable-pip-version-check")
        .arg("--no-deps")
        .arg("--only-binary=:all:")
        .arg(format!("--python-version={version}"))
        .arg("--target")
        .path(&site);
    for platform in ["manylinux_2_28", "manylinux_2_27", "manylinux2014"] {
        pip = pip.arg(format!("--platform={platform}_aarch64"));
    }
    let pip = required.iter().fold(pip, |pip, line| pip.arg(line.clone()));
    ensure!(pip.succeeds()?, "`{pip}` failed");
    fs::write(&installed, expected)?;
    Ok((site, versions))
}

/// The lines of a requirements.txt that pin these packages, in the order of `names`.
fn pinned(all: &str, names: &[&str]) -> Result<Vec<String>> {
    let line = |name: &&str| {
        let start = format!("{name}==");
        let found = all.lines().find(|line| line.starts_with(&start));
        found
            .map(str::to_owned)
            .with_context(|| format!("benches/peers/requirements.txt pins no version of {name}"))
    };
    names.iter().map(line).collect()
}

/// The version of the Python whose library is in this folder, such as 3.11.
fn python_version(libraries: &Path) -> Result<String> {
    let entries = fs::read_dir(libraries).with_context(|| libraries.display().to_string())?;
    for entry in entries {
        let name = entry?.file_name();
        if let Some(version) = name.to_string_lossy().strip_prefix("python3.") {
            return Ok(format!("3.{version}"));
        }
    }
    bail!("{} has no Python 3", libraries.display())
}

/// Builds crates/engine/examples/repeat.rs for aarch64, as users build the engine.
fn runner(checkout: &Checkout) -> Result<PathBuf> {
    let build = cross::arm::statically_linked(Invocation::new(&format!(
        "cargo build --release --package pilotage-engine --example repeat --target={ARM}"
    )))
    .within(checkout.root());
    ensure!(build.succeeds()?, "`{build}` failed");
    Ok(checkout.builds().join(ARM).join("release/examples/repeat"))
}

/// Compiles the plugin for this machine's QEMU.
fn plugin(scripts: &Path, folder: &Path) -> Result<PathBuf> {
    let plugin = folder.join("blocks.so");
    let compile = Invocation::new("cc -std=c11 -Wall -Wextra -Werror -O2 -shared -fPIC -o")
        .path(&plugin)
        .path(&scripts.join("blocks.c"));
    ensure!(compile.succeeds()?, "`{compile}` failed");
    Ok(plugin)
}

/// Compiles the shipped network in both precisions, and converts it and the frames.
fn write_models(
    checkout: &Checkout,
    emulated: &Emulated,
    pilotage: &Invocation,
    python: &Path,
) -> Result<()> {
    let models = &emulated.models;
    let _ = fs::remove_dir_all(models);
    fs::create_dir_all(models)?;
    let recipe = checkout.root().join("engines/pilotnet.toml");
    for precision in ["fp32", "int8"] {
        let engine = models.join(format!("{precision}.engine"));
        let compile = pilotage
            .clone()
            .arg("compile")
            .path(&recipe)
            .arg("--precision")
            .arg(precision)
            .arg("--out")
            .path(&engine)
            .arg("--export")
            .path(models)
            .within(checkout.root());
        silently(&compile)?;
        let frames = Invocation::new("qemu-aarch64")
            .path(&emulated.repeat)
            .path(&engine)
            .arg("0")
            .path(&models.join(format!("{precision}.frames")));
        silently(&frames)?;
    }
    fs::copy(
        checkout.root().join("engines/pilotnet.onnx"),
        models.join("fp32.onnx"),
    )?;
    fs::rename(models.join("int8.qdq.onnx"), models.join("int8.onnx"))?;
    silently(
        &Invocation::of(python)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .path(&emulated.scripts.join("arm.py"))
            .arg("prepare")
            .path(models),
    )
}

/// Runs a command, whose output is only shown if it fails.
fn silently(command: &Invocation) -> Result<()> {
    let mut output = String::new();
    let succeeded = command.listen(|line| output.push_str(line))?;
    ensure!(succeeded, "`{command}` failed:\n{output}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_needed_packages_are_pinned() {
        let all = "# The engines.\nopenvino==2026.4.1\nonnxruntime==1.32.0\nonnx==1.23.2\n";
        assert_eq!(
            pinned(all, &["onnx", "onnxruntime"]).unwrap(),
            ["onnx==1.23.2", "onnxruntime==1.32.0"]
        );
        let error = pinned(all, &["numpy"]).unwrap_err().to_string();
        assert!(error.contains("numpy"), "{error}");
    }

    #[test]
    fn every_wheel_is_pinned() {
        let root = Checkout::find().unwrap();
        let file = root.root().join("benches/peers/requirements.txt");
        let all = fs::read_to_string(file).unwrap();
        assert_eq!(pinned(&all, &WHEELS).unwrap().len(), WHEELS.len());
    }
}
