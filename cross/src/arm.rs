//! The aarch64 tests, run with qemu-user: the tests of the CPU engine and of vision; the compiler,
//! which has to make the same engine files as on the host; and the shipped network, which has to
//! give the same answers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

const TARGET: &str = "--target=aarch64-unknown-linux-gnu";
/// Runs the compiler, and prints the SHA-256 of each engine file and of its sections.
const DIGEST: &str = "cargo run --quiet --package pilotage-compiler --example digest";
/// Prints a digest of the shipped network's answers for each instruction set.
const ANSWERS: &str = "cargo run --quiet --package pilotage-compiler --example answers";
/// How many of the shipped recipe's frames are used for calibration here; the last one is held out.
/// In the emulator each frame costs seconds.
const FRAMES: u32 = 9;

/// The recipes that are compiled on both architectures: every integer precision, every calibration
/// method, both layouts.
const RECIPES: [Recipe; 4] = [
    Recipe {
        model: "pytorch",
        precision: "int8",
        method: "entropy",
        gate: "{ mse = 4.1e-5, worst = 0.012 }",
    },
    Recipe {
        model: "keras",
        precision: "int8",
        method: "mse",
        gate: "{ mse = 1.5e-5, worst = 0.0066 }",
    },
    Recipe {
        model: "pytorch",
        precision: "int8-dynamic",
        method: "minmax",
        gate: "{ mse = 2.2e-6, worst = 0.0026 }",
    },
    Recipe {
        model: "keras",
        precision: "int8-integer",
        method: "percentile",
        gate: "{ mse = 6.8e-6, worst = 0.0046 }",
    },
];

struct Recipe {
    /// The name of an export in the compiler's tests.
    model: &'static str,
    precision: &'static str,
    method: &'static str,
    /// The gate of both outputs: three times the larger of the two measured errors.
    gate: &'static str,
}

impl Recipe {
    fn text(&self, exports: &Path) -> String {
        let (layout, [first, second]) = match self.model {
            // The names that TensorFlow gives, which Keras's export keeps.
            "keras" => ("nhwc", ["name = \"Identity:0\"", "name = \"Identity_1:0\""]),
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

/// The instruction sets that the emulator has. The engine's tests fail if one of them is missing.
const MUST_HAVE: &str = "scalar,neon,neon-dotprod,neon-i8mm";

/// All tests of the engine and of vision.
pub fn tests() -> Invocation {
    let line = format!("cargo test --package pilotage-engine --package pilotage-vision {TARGET}");
    emulated(Invocation::new(&line))
        .arg("--tests")
        .env("PILOTAGE_MUST_HAVE", MUST_HAVE)
}

/// Compiles the recipes on the host and on aarch64. Returns true when the engine files are
/// identical.
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

/// Runs the shipped INT8 network on its validation frames, with every instruction set of the host
/// and of aarch64. Returns true when all answers are identical bit for bit.
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

/// The digests that `program` prints for the files, one per line.
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

/// The first word of a line: the SHA-256, if [`is_digest`].
fn digest(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or("")
}

/// Whether a line begins with a SHA-256. Cargo's messages do not.
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

/// A `cargo` command that builds for aarch64 and runs the result with qemu-user.
fn emulated(cargo: Invocation) -> Invocation {
    statically_linked(cargo).env(
        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
        "timeout 600 qemu-aarch64 -cpu max",
    )
}

/// A `cargo` command that builds programs for aarch64 which are linked statically: with Debian's
/// cross libraries, programs with threads hang under qemu-user.
pub fn statically_linked(cargo: Invocation) -> Invocation {
    let target = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU";
    cargo
        .env(&format!("{target}_LINKER"), "aarch64-linux-gnu-gcc")
        .env(
            &format!("{target}_RUSTFLAGS"),
            "-C target-feature=+crt-static",
        )
}
