//! Compiles every engines/*.toml and embeds the engine files.
//!
//! Writes OUT_DIR/NAME.engine for each recipe and OUT_DIR/engines.rs with the table `ENGINES`,
//! which src/engines/embedded.rs includes. If the build machine is also the machine that drives, and
//! has TensorRT, the TensorRT plans are built and validated too.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use pilotage_engine::Bundle;
use pilotage_gpu::{GpuPolicy, TensorRtPaths, prepare};

const RECIPES: &str = "engines";

fn main() {
    // cargo shows each `cargo::error` line as its own error and fails the build.
    for error in run() {
        for line in error.lines() {
            println!("cargo::error={line}");
        }
    }
}

/// Compiles all recipes. Returns the errors of all of them.
fn run() -> Vec<String> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={RECIPES}");
    let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        return vec!["OUT_DIR is not set; cargo sets it for build scripts".into()];
    };
    let recipes = match recipes() {
        Ok(recipes) => recipes,
        Err(error) => return vec![format!("{RECIPES}: {error}")],
    };
    println!("cargo::rerun-if-env-changed={}", GpuPolicy::VARIABLE);
    let gpu = match GpuPolicy::from_environment() {
        Ok(gpu) => gpu,
        Err(error) => return vec![error.to_string()],
    };
    let mut errors = Vec::new();
    let mut table = String::new();
    for recipe in recipes {
        for source in pilotage_compiler::sources(&recipe) {
            println!("cargo::rerun-if-changed={}", source.display());
        }
        let name = recipe.file_stem().unwrap_or_default().to_string_lossy();
        let engine = out.join(format!("{name}.engine"));
        match pilotage_compiler::compile(&recipe) {
            Ok(compiled) => {
                for warning in compiled.warnings {
                    println!("cargo::warning={warning}");
                }
                errors.extend(plan(&name, &compiled.bytes, gpu));
                match fs::write(&engine, compiled.bytes) {
                    Ok(()) => add_entry(&mut table, &name, &engine),
                    Err(error) => errors.push(format!("{}: {error}", engine.display())),
                }
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    let code = format!(
        "/// Aligns an engine file to a cache line.\n\
         #[repr(C, align(64))]\n\
         struct Aligned<B: ?Sized>(B);\n\
         /// Name and bundle of each engine, sorted by name.\n\
         static ENGINES: &[(&str, &[u8])] = &[\n{table}];\n"
    );
    let file = out.join("engines.rs");
    if let Err(error) = fs::write(&file, code) {
        errors.push(format!("{}: {error}", file.display()));
    }
    errors
}

/// Builds the TensorRT plan if this machine can use it. Returns an error only if the plan is
/// required.
fn plan(name: &str, engine: &[u8], gpu: GpuPolicy) -> Option<String> {
    let here = env::var_os("HOST") == env::var_os("TARGET");
    if gpu == GpuPolicy::Off || (!here && gpu == GpuPolicy::Auto) {
        return None;
    }
    if !here {
        return Some(format!(
            "{name}: {} is `require`, but a plan is built on the machine that drives, and this is \
             a cross build; run `pilotage compile --for-this-machine` there",
            GpuPolicy::VARIABLE
        ));
    }
    let bundle = match Bundle::read(engine) {
        Ok(bundle) => bundle,
        Err(error) => return Some(format!("{name}: {error}")),
    };
    let error = prepare(&bundle, &TensorRtPaths::default(), &|_| true).err()?;
    if gpu == GpuPolicy::Require {
        return Some(format!("{name}: {error}"));
    }
    if !error.is_absence() {
        for line in format!("{name} has no TensorRT plan: {error}").lines() {
            println!("cargo::warning={line}");
        }
    }
    None
}

/// All recipes, sorted by name.
fn recipes() -> io::Result<Vec<PathBuf>> {
    let mut recipes = Vec::new();
    let folder = match fs::read_dir(RECIPES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(recipes),
        folder => folder?,
    };
    for entry in folder {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            recipes.push(path);
        }
    }
    recipes.sort();
    Ok(recipes)
}

fn add_entry(table: &mut String, name: &str, engine: &Path) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        table,
        "    ({name:?}, {{\n        \
         static ENGINE: &Aligned<[u8]> = &Aligned(*include_bytes!({engine:?}));\n        \
         &ENGINE.0\n    }}),"
    );
}
