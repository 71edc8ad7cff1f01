//! The engines that a command compares.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use pilotage_config::write_atomically;
use pilotage_console::say;
use pilotage_engine::Bundle;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::car::{Car, EngineSource};
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
    /// The bytes of the weights in the engine file, which stores zeros, clusters and 4-bit weights in
    /// fewer.
    pub weight_bytes: u64,
    /// SHA-256 of the engine file, in hexadecimal.
    pub sha256: String,
    /// What `--engine` takes: a compiled-in engine's name, or a file; `None` for the car's own
    /// engine. The path is of this machine and not of the result.
    #[serde(skip)]
    pub argument: Option<String>,
}

/// An engine of a recipe: its bytes, and the file that they are to be written to.
struct Compilation {
    bytes: Vec<u8>,
    file: PathBuf,
}

/// The engines that are named: compiled-in ones, .engine files, and recipes, which are compiled to
/// `engines/NAME.engine` in `out`. Without names the engine of `car`. `known` are the engines of the
/// results in `out`.
///
/// # Errors
/// Fails, and writes no engine, if one of them does not exist or is not valid, a recipe cannot be
/// compiled, two have the same name, or a recipe's engine is not the known one of its name.
pub(crate) fn compared(
    named: &[String],
    car: &Car,
    out: Option<&Path>,
    known: &[Compared],
) -> anyhow::Result<Vec<Compared>> {
    if named.is_empty() {
        let fetched = engines::fetch(&car.engine, &Trust::default())?;
        return Ok(vec![described(&car.engine, &fetched.bytes, None)?]);
    }
    let mut names = BTreeSet::new();
    let (mut all, mut compilations) = (Vec::new(), Vec::new());
    for argument in named {
        let (engine, compilation) = one(argument, out)?;
        ensure!(
            names.insert(engine.name.clone()),
            "two engines are called `{}`: rename one of the files, or name each once",
            engine.name
        );
        if let Some(compilation) = compilation {
            let known = known.iter().find(|it| it.name == engine.name);
            ensure!(
                known.is_none_or(|it| it.sha256 == engine.sha256),
                "{}: the results in its folder are of another engine `{}`: name another folder",
                compilation.file.display(),
                engine.name
            );
            compilations.push(compilation);
        }
        all.push(engine);
    }
    for Compilation { bytes, file } in compilations {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        write_atomically(&file, &bytes)?;
    }
    Ok(all)
}

fn one(argument: &str, out: Option<&Path>) -> anyhow::Result<(Compared, Option<Compilation>)> {
    let path = Path::new(argument);
    let source = match path.extension().and_then(|it| it.to_str()) {
        Some("toml") => {
            let compilation = compilation(path, out)?;
            let file = compilation.file.display().to_string();
            let source = EngineSource::File(compilation.file.clone());
            let engine = described(&source, &compilation.bytes, Some(file))?;
            return Ok((engine, Some(compilation)));
        }
        Some("onnx") => bail!(
            "{argument}: a model without a recipe has no outputs with a meaning: `pilotage compile \
             {argument} --save-recipe FILE.toml` makes a recipe"
        ),
        Some("engine") => EngineSource::File(path.to_owned()),
        _ => EngineSource::BuiltIn(argument.to_owned()),
    };
    let fetched = engines::fetch(&source, &Trust::default())?;
    let engine = described(&source, &fetched.bytes, Some(argument.to_owned()))?;
    Ok((engine, None))
}

/// The engine of these bytes, which are of `source`.
fn described(
    source: &EngineSource,
    bytes: &[u8],
    argument: Option<String>,
) -> anyhow::Result<Compared> {
    let (name, stem) = match source {
        EngineSource::File(path) => (
            path.display().to_string(),
            path.file_stem().unwrap_or_default().to_string_lossy(),
        ),
        EngineSource::BuiltIn(name) => (name.clone(), name.as_str().into()),
    };
    let bundle = Bundle::read(bytes).with_context(|| format!("engine `{name}`"))?;
    let layers = bundle.plan.layers();
    let weights = layers.iter().map(|layer| layer.stored_bytes as u64);
    Ok(Compared {
        name: safe(&stem),
        weight_bytes: weights.fold(0, u64::saturating_add),
        precision: bundle.manifest.precision,
        bytes: bytes.len() as u64,
        sha256: hexadecimal(&Sha256::digest(bytes)),
        argument,
    })
}

/// Compiles a recipe.
fn compilation(path: &Path, out: Option<&Path>) -> anyhow::Result<Compilation> {
    let out = out.with_context(|| {
        let path = path.display();
        format!("{path} is a recipe, which is compiled to a file: name a folder with --out")
    })?;
    say(format_args!("compiling {}", path.display()));
    let compiled = pilotage_compiler::compile(path)?;
    for warning in &compiled.warnings {
        say(format_args!("warning: {}: {warning}", path.display()));
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(Compilation {
        bytes: compiled.bytes,
        file: out.join("engines").join(format!("{}.engine", safe(&stem))),
    })
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
