//! The requirements of the tests on the machine: checked, reported when missing, and installed with
//! `--install`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::checkout::Checkout;
use crate::invocation::Invocation;

/// The version of the test runner, the same in CI and everywhere else.
const NEXTEST: &str = "0.9.143";
/// The version of cargo-mutants.
const MUTANTS: &str = "27.1.0";

/// The version of cargo-deb, which makes the .deb.
const CARGO_DEB: &str = "3.8.0";

/// The crate whose packages contain NVIDIA's TensorRT headers, which this project may not redistribute.
const HEADERS_CRATE: &str = "trtx-sys";
/// Its releases, each with the folders of headers that are taken from it. cargo checks the packages
/// against the index's checksums.
const HEADERS: [(&str, &str); 2] = [
    ("0.5.0", "TRT-Enterprise-10.16"),
    ("0.9.1+rtx1.7", "TRT-Enterprise-11.4 TRT-RTX-*"),
];

const ARM_TARGET: &str = "aarch64-unknown-linux-gnu";

/// Something that has to be installed before the tests can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Rust's formatter.
    Rustfmt,
    /// Rust's linter.
    Clippy,
    /// A C compiler and the C library's headers.
    CCompiler,
    /// For libFuzzer and the shim for TensorRT, which are C++.
    CppCompiler,
    /// Rust's standard library for aarch64.
    ArmTarget,
    /// A C compiler for aarch64.
    ArmCompiler,
    /// qemu-user for aarch64.
    ArmEmulator,
    /// For arm64 Debian systems: mmdebstrap, and a qemu that works after chroot.
    ArmRoots,
    /// The tools that make the guests of the virtual car.
    GuestTools,
    /// The systemd of this machine, which checks unit files.
    Systemd,
    /// The tool that makes the .deb.
    CargoDeb,
    /// The browser that tests the page.
    Chromium,
    /// The test runner.
    Nextest,
    /// The tool for mutation testing.
    Mutants,
    /// A Python that can make virtual environments.
    Python,
    /// The private Python environment with ONNX's reference and test cases.
    PythonPackages,
    /// ONNX's backend test cases, written out as files.
    OnnxCases,
    /// NVIDIA's headers, for the shim.
    TensorRtHeaders,
}

use Requirement::{
    ArmCompiler, ArmEmulator, ArmRoots, ArmTarget, CCompiler, CargoDeb, Chromium, Clippy,
    CppCompiler, GuestTools, Mutants, Nextest, OnnxCases, Python, PythonPackages, Rustfmt, Systemd,
    TensorRtHeaders,
};

impl Requirement {
    fn name(self) -> String {
        match self {
            Rustfmt => "rustfmt".into(),
            Clippy => "clippy".into(),
            CCompiler => "a C compiler (cc)".into(),
            CppCompiler => "a C++ compiler (c++)".into(),
            ArmTarget => "Rust for aarch64".into(),
            ArmCompiler => "a C compiler for aarch64 (aarch64-linux-gnu-gcc)".into(),
            ArmEmulator => "qemu-user (qemu-aarch64)".into(),
            ArmRoots => "mmdebstrap, and qemu-user-static for what it makes".into(),
            GuestTools => "make, mke2fs and setpriv".into(),
            Systemd => "systemd-analyze".into(),
            CargoDeb => format!("cargo-deb {CARGO_DEB}"),
            Chromium => "Chromium (chromium)".into(),
            Nextest => format!("cargo-nextest {NEXTEST}"),
            Mutants => format!("cargo-mutants {MUTANTS}"),
            Python => "Python 3.11 or later with venv and pip".into(),
            PythonPackages => "the tests' Python packages, in target/python".into(),
            OnnxCases => "ONNX's backend test cases, written out".into(),
            TensorRtHeaders => "TensorRT's headers, in target/tensorrt-headers".into(),
        }
    }

    fn is_met(self, checkout: &Checkout) -> bool {
        match self {
            Rustfmt => Invocation::new("cargo fmt --version").answer().is_some(),
            Clippy => Invocation::new("cargo clippy --version").answer().is_some(),
            CCompiler => Invocation::new("cc --version").answer().is_some(),
            CppCompiler => Invocation::new("c++ --version").answer().is_some(),
            ArmTarget => Invocation::new("rustup target list --installed")
                .answer()
                .is_some_and(|targets| targets.lines().any(|target| target == ARM_TARGET)),
            ArmCompiler => Invocation::new("aarch64-linux-gnu-gcc --version")
                .answer()
                .is_some(),
            ArmEmulator => Invocation::new("qemu-aarch64 --version").answer().is_some(),
            ArmRoots => {
                ["mmdebstrap --version", "qemu-aarch64-static --version"]
                    .iter()
                    .all(|command| Invocation::new(command).answer().is_some())
                    && Invocation::new("sh -c")
                        .arg("command -v arch-test")
                        .answer()
                        .is_some()
            }
            GuestTools => Invocation::new("sh -c")
                .arg("PATH=$PATH:/sbin:/usr/sbin; command -v make && command -v mke2fs && command -v setpriv")
                .answer()
                .is_some(),
            Systemd => Invocation::new("systemd-analyze --version")
                .answer()
                .is_some(),
            CargoDeb => installed(checkout, "cargo-deb", CARGO_DEB),
            Chromium => Invocation::new("chromium --version").answer().is_some(),
            Nextest => tool(checkout, "cargo-nextest", NEXTEST).is_some(),
            Mutants => tool(checkout, "cargo-mutants", MUTANTS).is_some(),
            Python => python().is_some(),
            PythonPackages => {
                let required: String = python_packages(checkout)
                    .iter()
                    .filter_map(|file| fs::read_to_string(file).ok())
                    .collect();
                let there = fs::read_to_string(checkout.python().join(INSTALLED));
                there.is_ok_and(|there| there == required)
            }
            OnnxCases => {
                let script = cases_script(checkout);
                !script.exists() || same_content(&script, &checkout.onnx_cases().join("written-by.py"))
            }
            TensorRtHeaders => {
                let there = fs::read_to_string(checkout.tensorrt_headers().join(INSTALLED));
                there.is_ok_and(|there| there.trim() == headers_installed())
            }
        }
    }

    /// The commands that install the requirement.
    fn commands(self, checkout: &Checkout) -> Vec<Invocation> {
        match self {
            Rustfmt => vec![Invocation::new("rustup component add rustfmt")],
            Clippy => vec![Invocation::new("rustup component add clippy")],
            CCompiler => vec![debian("gcc libc6-dev")],
            CppCompiler => vec![debian("g++")],
            Python => vec![debian("python3 python3-venv")],
            ArmTarget => vec![Invocation::new("rustup target add").arg(ARM_TARGET)],
            ArmCompiler => vec![debian("gcc-aarch64-linux-gnu libc6-dev-arm64-cross")],
            ArmEmulator => vec![debian("qemu-user")],
            ArmRoots => vec![debian("mmdebstrap arch-test qemu-user-static")],
            GuestTools => vec![debian("make e2fsprogs util-linux")],
            Systemd => vec![debian("systemd")],
            CargoDeb => vec![cargo_install(checkout, "cargo-deb", CARGO_DEB)],
            Chromium => vec![debian("chromium")],
            Nextest => vec![
                cargo_install(checkout, "cargo-nextest", NEXTEST)
                    .arg("--no-default-features")
                    .arg("--features=default-no-update"),
            ],
            Mutants => vec![cargo_install(checkout, "cargo-mutants", MUTANTS)],
            PythonPackages => {
                let environment = checkout.python();
                let files = python_packages(checkout);
                let mut pip = Invocation::of(&environment.join("bin/pip"))
                    .arg("install")
                    .arg("--quiet");
                let mut keep = Invocation::new("sh -c").arg(r#"cat -- "$@" > "$0""#);
                keep = keep.path(&environment.join(INSTALLED));
                for file in &files {
                    pip = pip.arg("--requirement").path(file);
                    keep = keep.path(file);
                }
                vec![
                    // The test cases are generated by these packages.
                    Invocation::new("rm -rf")
                        .path(&environment)
                        .path(&checkout.onnx_cases()),
                    Invocation::new(python().unwrap_or(DEBIAN_PYTHON))
                        .arg("-m")
                        .arg("venv")
                        .path(&environment),
                    pip,
                    keep,
                ]
            }
            OnnxCases => {
                let script = cases_script(checkout);
                let cases = checkout.onnx_cases();
                vec![
                    Invocation::new("rm -rf").path(&cases),
                    Invocation::of(&checkout.python().join("bin/python"))
                        .path(&script)
                        .path(&cases),
                    Invocation::new("cp")
                        .path(&script)
                        .path(&cases.join("written-by.py")),
                ]
            }
            TensorRtHeaders => fetch_headers(checkout),
        }
    }
}

/// Ensures that all of `requirements` are met, in their order. With `install`, installs what is
/// missing; without it, prints the commands that would and fails.
pub fn ensure(checkout: &Checkout, requirements: &[Requirement], install: bool) -> Result<()> {
    let missing: Vec<_> = requirements
        .iter()
        .copied()
        .filter(|requirement| !requirement.is_met(checkout))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !install {
        for requirement in &missing {
            println!("missing: {}", requirement.name());
            for command in requirement.commands(checkout) {
                println!("    {command}");
            }
        }
        bail!("run the commands above, or let --install do it; nothing has been changed");
    }
    for requirement in missing {
        println!("==> installing {}", requirement.name());
        for command in requirement.commands(checkout) {
            println!("    {command}");
            if !command.succeeds()? {
                bail!("installing {} failed at `{command}`", requirement.name());
            }
        }
        if !requirement.is_met(checkout) {
            bail!(
                "{} was installed, and still cannot be found",
                requirement.name()
            );
        }
    }
    Ok(())
}

/// cargo-nextest; its requirement has to be met.
pub fn nextest(checkout: &Checkout) -> Result<Invocation> {
    found(checkout, "cargo-nextest", NEXTEST)
}

/// cargo-mutants; its requirement has to be met.
pub fn mutants(checkout: &Checkout) -> Result<Invocation> {
    found(checkout, "cargo-mutants", MUTANTS)
}

fn found(checkout: &Checkout, name: &str, version: &str) -> Result<Invocation> {
    match tool(checkout, name, version) {
        Some(tool) => Ok(tool),
        None => bail!("{name} {version} is not there"),
    }
}

/// The tool under `target/tools` or in PATH, in exactly this version.
fn tool(checkout: &Checkout, name: &str, version: &str) -> Option<Invocation> {
    let subcommand = name.strip_prefix("cargo-").unwrap_or(name);
    let private = Invocation::of(&checkout.tools().join("bin").join(name));
    [private, Invocation::new(name)]
        .into_iter()
        .map(|tool| tool.arg(subcommand))
        .find(|tool| {
            let answer = tool.clone().arg("--version").answer();
            answer.is_some_and(|text| text.split_whitespace().nth(1) == Some(version))
        })
}

/// Whether `target/tools` has the tool in exactly this version, by cargo's list there.
fn installed(checkout: &Checkout, name: &str, version: &str) -> bool {
    fs::read_to_string(checkout.tools().join(".crates.toml"))
        .is_ok_and(|list| list.contains(&format!("\"{name} {version} ")))
}

/// Installs a tool under `target/tools`. It is optimized little, so that it builds quickly, and not
/// built in the project's target directory.
fn cargo_install(checkout: &Checkout, name: &str, version: &str) -> Invocation {
    Invocation::new("cargo install --locked")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .arg(name)
        .arg(format!("--version={version}"))
        .arg("--root")
        .path(&checkout.tools())
}

/// Fetches the crate's releases without building them, each with a manifest of its own.
fn fetch_headers(checkout: &Checkout) -> Vec<Invocation> {
    let script = |body: String| {
        let script = Invocation::new("sh -c").arg(format!("set -e; {body}"));
        script.path(&checkout.tensorrt_headers())
    };
    let name = HEADERS_CRATE;
    let fetch = HEADERS.map(|(version, folders)| {
        script(format!(
            r#"rm -rf "$0/fetch"; mkdir -p "$0/fetch/src"; : > "$0/fetch/src/lib.rs"
printf '%s\n' '[package]' 'name = "fetch"' '[dependencies]' '{name} = "={version}"' '[workspace]' > "$0/fetch/Cargo.toml"
cargo fetch --quiet --manifest-path "$0/fetch/Cargo.toml"
cd "${{CARGO_HOME:-$HOME/.cargo}}"/registry/src/*/{name}-{version}/TensorRT-Headers
cp -R {folders} "$0""#
        ))
    });
    let emptied = script(r#"rm -rf "$0""#.into());
    let installed = headers_installed();
    let recorded = script(format!(r#"echo '{installed}' > "$0/{INSTALLED}""#));
    [emptied]
        .into_iter()
        .chain(fetch)
        .chain([recorded])
        .collect()
}

/// What is recorded when the headers are installed.
fn headers_installed() -> String {
    HEADERS.map(|(version, _)| version).join(" ")
}

const DEBIAN_PYTHON: &str = "/usr/bin/python3";

/// The file in a folder under target/ that records exactly what was installed there.
const INSTALLED: &str = "installed.txt";

/// The pinned Python packages of the project and of the crates' tests.
fn python_packages(checkout: &Checkout) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(checkout.root().join("crates"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("tests/requirements.txt"))
        .filter(|file| file.exists())
        .collect();
    files.sort();
    files.insert(0, checkout.root().join("xtask/requirements.txt"));
    files
}

/// A Python that is new enough and can make virtual environments with pip.
pub fn python() -> Option<&'static str> {
    ["python3", DEBIAN_PYTHON].into_iter().find(|python| {
        Invocation::new(python)
            .arg("-c")
            .arg("import sys, venv, ensurepip; assert sys.version_info >= (3, 11)")
            .answer()
            .is_some()
    })
}

fn cases_script(checkout: &Checkout) -> PathBuf {
    checkout
        .root()
        .join("crates/compiler/tests/write_onnx_cases.py")
}

/// Installs Debian packages, as root or through sudo.
fn debian(packages: &str) -> Invocation {
    Invocation::privileged(&format!(
        "apt-get update && env DEBIAN_FRONTEND=noninteractive \
         apt-get install --yes --no-install-recommends {packages}"
    ))
}

fn same_content(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}
