//! What runs for aarch64, by qemu-user: the tests of the CPU engine and of vision; the
//! compiler, which has to make the same engine files there as here; and the shipped
//! network, which has to say the same.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::invocation::Invocation;

const TARGET: &str = "--target=aarch64-unknown-linux-gnu";
/// The compiler as a program: prints the SHA-256 of each engine file and its parts.
const DIGEST: &str = "cargo run --quiet --package pilotage-compiler --example digest";
/// The shipped network's answers, a digest for each instruction set.
const ANSWERS: &str = "cargo run --quiet --package pilotage-compiler --example answers";
/// Frames of the shipped recipe's that the recipes here are calibrated with; the
/// last is held back. Emulated, each costs seconds.
const FRAMES: u32 = 9;

/// What is compiled on both: every precision in integers, every method, both layouts.
const RECIPES: [Recipe; 4] = [
    Recipe {
        model: "pytorch",
        precision: "int8",
        method: "entropy",
        gate: "{ mse = 0.008, worst = 0.15 }",
    },
    Recipe {
        model: "keras",
        precision: "int8",
        method: "mse",
        gate: "{ mse = 6e-5, worst = 0.014 }",
    },
    Recipe {
        model: "pytorch",
        precision: "int8-dynamic",
        method: "minmax",
        gate: "{ mse = 5e-4, worst = 0.04 }",
    },
    Recipe {
        model: "keras",
        precision: "int8-integer",
        method: "percentile",
        gate: "{ mse = 0.0045, worst = 0.12 }",
    },
];

struct Recipe {
    /// One of the exports that the compiler's tests have.
    model: &'static str,
    precision: &'static str,
    method: &'static str,
    /// For both outputs: three times the larger of the two errors measured.
    gate: &'static str,
}

impl Recipe {
    fn text(&self, exports: &Path) -> String {
        let (layout, [first, second]) = match self.model {
            "keras" => ("nhwc", ["name = \"steering\"", "name = \"throttle\""]),
            _ => ("nchw", ["index = 0", "index = 1"]),
        };
        let model = exports.join(format!("{}.onnx", self.model));
        let gate = self.gate;
        format!(
            "model = {model:?}\nprecision = \"{}\"\ndomain = \"simulated\"\n\
             [input]\nwidth = 200\nheight = 66\nlayout = \"{layout}\"\n\
             [[output]]\n{first}\nmeaning = \"steering\"\ngate = {gate}\n\
             [[output]]\n{second}\nmeaning = \"throttle\"\ngate = {gate}\n\
             [calibration]\nframes = \"frames\"\nmethod = \"{}\"\n",
            self.precision, self.method
        )
    }
}

/// What the emulator has, and the engine's tests may not miss there.
const MUST_HAVE: &str = "scalar,neon,neon-dotprod,neon-i8mm";

/// All tests of the engine and of vision.
pub fn tests() -> Invocation {
    let line = format!("cargo test --package pilotage-engine --package pilotage-vision {TARGET}");
    emulated(Invocation::new(&line))
        .arg("--tests")
        .env("PILOTAGE_MUST_HAVE", MUST_HAVE)
}

/// Compiles some recipes here and for aarch64; true when every byte is the same.
pub fn compiles_alike(checkout: &Checkout) -> Result<bool> {
    let recipes = write(checkout)?;
    let here = digests(checkout, Invocation::new(DIGEST), &recipes)?;
    let line = format!("{DIGEST} {TARGET}");
    let there = digests(checkout, emulated(Invocation::new(&line)), &recipes)?;
    let files = here.lines().filter(|line| line.ends_with("engine file"));
    let alike = here == there && files.count() == recipes.len();
    for (here, there) in here.lines().zip(there.lines()) {
        if here != there {
            println!("differs, here and on aarch64:\n  {here}\n  {there}");
        }
    }
    if alike {
        println!(
            "{} engine files are the same to the last byte, compiled here and on aarch64",
            recipes.len()
        );
    }
    Ok(alike)
}

/// Runs the shipped INT8 network on the frames that travel with it, by every
/// instruction set here and on aarch64; true when all say the same to the last bit.
pub fn answers_alike(checkout: &Checkout) -> Result<bool> {
    let file = checkout.root().join("target/arm/shipped.engine");
    let shipped = checkout.root().join("engines/pilotnet.toml");
    digests(checkout, Invocation::new(ANSWERS), &[shipped, file.clone()])?;
    let here = digests(
        checkout,
        Invocation::new(ANSWERS),
        std::slice::from_ref(&file),
    )?;
    let line = format!("{ANSWERS} {TARGET}");
    let there = digests(checkout, emulated(Invocation::new(&line)), &[file])?;
    let answers: Vec<&str> = here.lines().chain(there.lines()).collect();
    let alike = answers
        .windows(2)
        .all(|two| digest(two[0]) == digest(two[1]));
    if !alike || here.lines().count() < 2 || there.lines().count() < 2 {
        println!("the shipped network, here and on aarch64:\n{here}{there}");
        return Ok(false);
    }
    println!(
        "the shipped network says the same by {} sets of instructions, here and on aarch64",
        answers.len()
    );
    Ok(true)
}

/// The digests that `program` prints of the files, a line each.
fn digests(checkout: &Checkout, program: Invocation, files: &[PathBuf]) -> Result<String> {
    let program = files
        .iter()
        .fold(program.arg("--"), |program, file| program.path(file))
        .within(checkout.root());
    let (mut digests, mut messages) = (String::new(), String::new());
    let succeeded = program.listen(|line| match is_digest(line) {
        true => digests.push_str(line),
        false => messages.push_str(line),
    })?;
    if !succeeded {
        anyhow::bail!("`{program}` failed:\n{messages}");
    }
    Ok(digests)
}

/// The SHA-256 that a line begins with.
fn digest(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or("")
}

/// Whether a line begins with a SHA-256; what cargo has to say does not.
fn is_digest(line: &str) -> bool {
    let first = digest(line);
    first.len() == 64 && first.chars().all(|c| c.is_ascii_hexdigit())
}

/// Writes the recipes and their frames under `target/`.
fn write(checkout: &Checkout) -> Result<Vec<PathBuf>> {
    let folder = checkout.root().join("target/arm");
    let frames = folder.join("frames");
    fs::create_dir_all(&frames)?;
    for number in 0..FRAMES {
        let file = format!("{number:03}.jpg");
        let shipped = checkout.root().join("engines/frames").join(&file);
        fs::copy(&shipped, frames.join(&file)).with_context(|| shipped.display().to_string())?;
    }
    let exports = checkout.root().join("crates/compiler/tests/exports");
    let recipe = |recipe: &Recipe| {
        let path = folder.join(format!("{}-{}.toml", recipe.model, recipe.precision));
        fs::write(&path, recipe.text(&exports))?;
        Ok(path)
    };
    RECIPES.iter().map(recipe).collect()
}

/// `cargo` building for aarch64 and running what it built. Linked statically:
/// programs with threads hang under qemu-user with Debian's cross libraries.
fn emulated(cargo: Invocation) -> Invocation {
    let target = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU";
    cargo
        .env(&format!("{target}_LINKER"), "aarch64-linux-gnu-gcc")
        .env(
            &format!("{target}_RUNNER"),
            "timeout 600 qemu-aarch64 -cpu max",
        )
        .env(
            &format!("{target}_RUSTFLAGS"),
            "-C target-feature=+crt-static",
        )
}
