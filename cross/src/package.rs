//! `cargo xtask package`: makes one .deb with the programs, the services and the documentation.

mod elf;
mod licences;
pub mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use tooling::checkout::Checkout;
use tooling::invocation::Invocation;
use tooling::requirements::{self, Requirement};

/// The oldest C library with which the programs start: that of JetPack 4.6 (Ubuntu 18.04).
/// Cargo.toml's `depends` and `pilotage doctor` have the same version.
const GLIBC: (u32, u32) = (2, 27);

/// The programs in the package.
pub const PROGRAMS: [&str; 3] = ["pilotage", "pilotage-guard", "pilotage-watch"];

/// The package's architecture, by Debian's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Architecture {
    /// Jetsons and other 64-bit Arm boards
    Arm64,
    /// 64-bit x86 computers
    Amd64,
}

impl Architecture {
    const fn target(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-gnu",
            Self::Amd64 => "x86_64-unknown-linux-gnu",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Amd64 => "amd64",
        }
    }
}

/// How the programs in the package are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// As they are released.
    Release,
    /// For the tests: with little optimization, because optimization takes most of a build's time.
    /// The package's contents and dependencies are the same. Build scripts and their dependencies
    /// are built as for a release, so that an earlier release build is reused.
    Quick,
}

/// The requirements for making the package.
pub const REQUIREMENTS: [Requirement; 5] = [
    Requirement::CCompiler,
    Requirement::ArmTarget,
    Requirement::Python,
    Requirement::PythonPackages,
    Requirement::CargoDeb,
];

/// Makes the package and prints its path and size. Returns true when its programs need nothing that
/// a car may lack.
///
/// # Errors
/// When a requirement is missing, or as [`make`].
pub fn run(checkout: &Checkout, architecture: Architecture, install: bool) -> Result<bool> {
    requirements::ensure(checkout, &REQUIREMENTS, install)?;
    let (package, compatible) = make(checkout, architecture, Build::Release)?;
    println!(
        "{}: {} KiB",
        package.display(),
        fs::metadata(&package)?.len() / 1024
    );
    Ok(compatible)
}

/// Makes the package and checks its programs. The result is false when a program needs something
/// that a car may lack; the reason has been printed then.
///
/// # Errors
/// When the programs do not build or are not valid ELF files, cargo-deb fails, or a file cannot be
/// read or written.
pub fn make(
    checkout: &Checkout,
    architecture: Architecture,
    build: Build,
) -> Result<(PathBuf, bool)> {
    compile(checkout, architecture, build)?;
    let folder = checkout.root().join("target/package");
    fs::create_dir_all(&folder)?;
    fs::write(
        folder.join("licences.txt"),
        licences::text(checkout, architecture.target())?,
    )?;
    write_manual(checkout, &folder.join("man"))?;
    let mut compatible = true;
    for program in PROGRAMS {
        let path = built(checkout, architecture, program);
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        let needs = elf::Needs::of(&bytes).with_context(|| path.display().to_string())?;
        println!("{program}: {} KiB stripped, {needs}", bytes.len() / 1024);
        for problem in needs.problems(GLIBC) {
            println!("{program} {problem}");
            compatible = false;
        }
    }
    let name = format!("pilotage_{}.deb", architecture.name());
    let package = match build {
        Build::Release => folder.join(name),
        // In another folder, so that it is not mistaken for the release.
        Build::Quick => {
            let quick = folder.join("quick");
            fs::create_dir_all(&quick)?;
            quick.join(name)
        }
    };
    let packed = Invocation::of(&checkout.tools().join("bin/cargo-deb"))
        .arg("--no-build")
        .arg("--no-strip")
        .arg("--target")
        .arg(architecture.target())
        .arg("--output")
        .path(&package)
        .within(checkout.root())
        .succeeds()?;
    if !packed {
        bail!("cargo-deb failed; see its output above");
    }
    Ok((package, compatible))
}

/// Writes the manual pages. The program of this machine does it, because that of the package may be
/// for another; its release build is usually there.
fn write_manual(checkout: &Checkout, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let written = Invocation::new("cargo run --quiet --release --package pilotage -- man")
        .path(folder)
        .within(checkout.root())
        .succeeds()?;
    match written {
        true => Ok(()),
        false => bail!("the manual pages cannot be written; see the output above"),
    }
}

/// The path of a built program.
fn built(checkout: &Checkout, architecture: Architecture, program: &str) -> PathBuf {
    checkout
        .builds()
        .join(architecture.target())
        .join("release")
        .join(program)
}

/// Builds the programs against the old C library, whose symbols zig knows.
fn compile(checkout: &Checkout, architecture: Architecture, build: Build) -> Result<()> {
    let target = format!("{}.{}.{}", architecture.target(), GLIBC.0, GLIBC.1);
    let mut cargo = Invocation::of(&checkout.python().join("bin/cargo-zigbuild"))
        .arg("zigbuild")
        .arg("--release")
        .arg("--package=pilotage")
        .arg("--package=pilotage-guard")
        .arg("--package=pilotage-watch")
        .arg("--bins")
        .arg("--target")
        .arg(target)
        // The build must not depend on the TensorRT of the building machine.
        .env("PILOTAGE_TENSORRT", "off")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_ZIGBUILD_ZIG_PATH", zig(checkout)?)
        .env(
            "CARGO_ZIGBUILD_CACHE_DIR",
            checkout.root().join("target/zig/cargo-zigbuild"),
        )
        .env(
            "ZIG_GLOBAL_CACHE_DIR",
            checkout.root().join("target/zig/global"),
        )
        .env(
            "ZIG_LOCAL_CACHE_DIR",
            checkout.root().join("target/zig/local"),
        )
        .within(checkout.root());
    if build == Build::Quick {
        cargo = cargo
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256");
    }
    match cargo.succeeds()? {
        true => Ok(()),
        false => bail!("the programs do not build for {}", architecture.target()),
    }
}

/// The zig program in PyPI's package ziglang.
fn zig(checkout: &Checkout) -> Result<PathBuf> {
    let libraries = checkout.python().join("lib");
    let folders = fs::read_dir(&libraries).with_context(|| libraries.display().to_string())?;
    folders
        .flatten()
        .map(|entry| entry.path().join("site-packages/ziglang/zig"))
        .find(|path: &PathBuf| Path::exists(path))
        .with_context(|| format!("there is no ziglang below {}", libraries.display()))
}
