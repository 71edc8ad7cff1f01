//! The engines that a command compares.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use pilotage_config::write_atomically;
use pilotage_console::say;
use pilotage_engine::Bundle;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::car::{EngineSettings, EngineSource};
use crate::engines;
use crate::signature::Trust;

/// An engine that is compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Compared {
    /// The name in tables and in the names of files: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The precision, as recipes write it.
    pub precision: String,
    /// The engine file's length.
    pub bytes: u64,
    /// The bytes of the weights in the CPU's plan, as they are stored.
    pub weight_bytes: u64,
    /// SHA-256 of the engine file, in hexadecimal.
    pub sha256: String,
    /// What `--engine` takes: a compiled-in engine's name, or a file. The path is of this machine
    /// and not of the result.
    #[serde(skip)]
    pub argument: String,
}

/// The engines that are named: compiled-in ones, .engine files, and recipes, which are compiled to
/// `engines/NAME.engine` in `out`. Without names the engine that drives.
///
/// # Errors
/// Fails if one of them does not exist or is not valid, a recipe cannot be compiled, or two have
/// the same name.
pub(crate) fn compared(named: &[String], out: Option<&Path>) -> anyhow::Result<Vec<Compared>> {
    let usual = [EngineSettings::default().name];
    let named = if named.is_empty() { &usual[..] } else { named };
    let mut names = BTreeSet::new();
    let mut all = Vec::new();
    for argument in named {
        let engine = one(argument, out)?;
        ensure!(
            names.insert(engine.name.clone()),
            "two engines are called `{}`: rename one of the files, or name each once",
            engine.name
        );
        all.push(engine);
    }
    Ok(all)
}

fn one(argument: &str, out: Option<&Path>) -> anyhow::Result<Compared> {
    let path = Path::new(argument);
    let extension = path.extension().and_then(|it| it.to_str());
    let argument = match extension {
        Some("toml") => recipe(path, out)?,
        Some("onnx") => bail!(
            "{argument}: a model without a recipe has no outputs with a meaning: `pilotage compile \
             {argument} --save-recipe FILE.toml` makes a recipe"
        ),
        _ => argument.to_owned(),
    };
    let source = match extension {
        Some("toml" | "engine") => EngineSource::File(argument.clone().into()),
        _ => EngineSource::BuiltIn(argument.clone()),
    };
    let fetched = engines::fetch(&source, &Trust::default())?;
    let bundle =
        Bundle::read(&fetched.bytes).with_context(|| format!("engine `{}`", fetched.name))?;
    let stem = match &source {
        EngineSource::File(path) => path.file_stem().unwrap_or_default().to_string_lossy(),
        EngineSource::BuiltIn(name) => name.as_str().into(),
    };
    let layers = bundle.plan.layers();
    let weights = layers.iter().map(|layer| layer.weight_bytes as u64);
    Ok(Compared {
        name: safe(&stem),
        weight_bytes: weights.fold(0, u64::saturating_add),
        precision: bundle.manifest.precision,
        bytes: fetched.bytes.len() as u64,
        sha256: hexadecimal(&Sha256::digest(&fetched.bytes)),
        argument,
    })
}

/// Compiles a recipe; returns the engine file.
fn recipe(path: &Path, out: Option<&Path>) -> anyhow::Result<String> {
    let out = out.with_context(|| {
        let path = path.display();
        format!("{path} is a recipe, which is compiled to a file: name a folder with --out")
    })?;
    let folder = out.join("engines");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    say(format_args!("compiling {}", path.display()));
    let compiled = pilotage_compiler::compile(path)?;
    for warning in &compiled.warnings {
        say(format_args!("warning: {}: {warning}", path.display()));
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let file = folder.join(format!("{}.engine", safe(&stem)));
    write_atomically(&file, &compiled.bytes)?;
    Ok(file.display().to_string())
}

/// `name` with `_` in place of each character that a file's name should not have.
pub(crate) fn safe(name: &str) -> String {
    let safe = |c: char| match c {
        c if c.is_ascii_alphanumeric() || "._-".contains(c) => c,
        _ => '_',
    };
    name.chars().map(safe).collect()
}

/// The longest text file: a recorded circuit takes about 4 MB per kilometre.
const LONGEST_TEXT: u64 = 64 << 20;

/// The SHA-256 of a text file, in hexadecimal.
///
/// # Errors
/// Fails if the file cannot be read, or is no text.
pub(crate) fn sha256_of_file(file: &Path) -> anyhow::Result<String> {
    let text = pilotage_config::read(file, LONGEST_TEXT)?;
    Ok(hexadecimal(&Sha256::digest(text.as_bytes())))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
