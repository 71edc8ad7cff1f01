//! `cargo xtask virtual-car`: an emulated arm64 computer with a camera and an I2C bus of its
//! kernel. A .deb is installed on it, and it drives a simulated car.
//!
//! The rig in the guest (cross/virtual-car) emulates what surrounds that computer on a car. This
//! module boots the guest, injects faults, and checks the pulses.

mod car;
mod guest;
mod image;
mod machine;
mod packages;
mod power;
mod scenarios;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::package;
use guest::Guest;
use image::Image;
use packages::Packages;
use scenarios::{SCENARIOS, Scenario};
use table::Row;
use tooling::checkout::Checkout;
use tooling::invocation::Invocation;
use tooling::requirements::{self, Requirement};
use tooling::tally::Tally;

/// How many times slower than a real car the virtual car runs. A camera of 20 frames a second
/// delivers 1, a deadline of 150 ms becomes 3 s, and the simulated car's time passes at a twentieth
/// of real time.
pub const SLOWER: f64 = 20.0;

/// The requirements of this command.
pub const REQUIREMENTS: [Requirement; 8] = [
    Requirement::CCompiler,
    Requirement::ArmTarget,
    Requirement::ArmCompiler,
    Requirement::ArmRoots,
    Requirement::GuestTools,
    // For making the package.
    Requirement::Python,
    Requirement::PythonPackages,
    Requirement::CargoDeb,
];

/// The options of `cargo xtask virtual-car`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The scenarios to run [default: all of them]
    scenarios: Vec<String>,
    /// Run only the most important scenarios
    #[arg(long)]
    important: bool,
    /// List the scenarios and exit
    #[arg(long)]
    list: bool,
    /// Install this package instead of one built from the checkout
    #[arg(long, value_name = "FILE.deb")]
    package: Option<PathBuf>,
    /// First install what this command needs on this machine
    #[arg(long)]
    install: bool,
}

/// The files that guests are made of.
pub struct Made {
    root: PathBuf,
    folder: PathBuf,
    rig: PathBuf,
    package: PathBuf,
    packages: Packages,
    image: Image,
    payload: PathBuf,
}

/// Runs the scenarios, and prints their results. Returns true when all passed.
///
/// # Errors
/// When no guest can be made.
pub fn run(checkout: &Checkout, options: &Options) -> Result<bool> {
    if options.list {
        for scenario in &SCENARIOS {
            println!("{:<20} {}", scenario.name, scenario.what);
        }
        return Ok(true);
    }
    for name in &options.scenarios {
        ensure!(
            SCENARIOS.iter().any(|scenario| scenario.name == name),
            "there is no scenario `{name}`: --list lists them"
        );
    }
    let needed = match options.package {
        Some(_) => &REQUIREMENTS[..5],
        None => &REQUIREMENTS,
    };
    requirements::ensure(checkout, needed, options.install)?;
    let selected: Vec<&Scenario> = SCENARIOS
        .iter()
        .filter(|scenario| scenario.important || !options.important)
        .filter(|scenario| {
            options.scenarios.is_empty()
                || options.scenarios.iter().any(|name| name == scenario.name)
        })
        .collect();
    let package = match &options.package {
        Some(package) => package.clone(),
        None => {
            requirements::ensure(checkout, &package::REQUIREMENTS, options.install)?;
            package::make(
                checkout,
                package::Architecture::Arm64,
                package::Build::Release,
            )?
            .0
        }
    };
    let rows = run_scenarios(checkout, &selected, &package)?;
    Ok(rows.iter().all(|row| row.passed))
}

/// Runs the most important scenarios, with the package as the tests build it.
///
/// # Errors
/// When no guest can be made.
pub fn test(checkout: &Checkout) -> Result<Tally> {
    let (package, sound) = package::make(
        checkout,
        package::Architecture::Arm64,
        package::Build::Quick,
    )?;
    ensure!(sound, "the package needs what a car may not have");
    let selected: Vec<&Scenario> = SCENARIOS.iter().filter(|one| one.important).collect();
    let mut tally = Tally::default();
    for row in run_scenarios(checkout, &selected, &package)? {
        tally += Tally::of_step(row.passed);
    }
    Ok(tally)
}

fn run_scenarios(checkout: &Checkout, selected: &[&Scenario], package: &Path) -> Result<Vec<Row>> {
    let started = Instant::now();
    let made = make(checkout, package)?;
    let mut rows = Vec::new();
    let installed = made.folder.join("installed.img");
    let stamp = made.folder.join("installed.txt");
    let made_of = install_stamp(&made, package)?;
    let up_to_date = fs::read_to_string(&stamp).is_ok_and(|there| there == made_of);
    if !(up_to_date && guest::whole(&installed)) {
        println!("==> installing the package in a guest");
        let guest = Guest::boot(&made, &made.image.disk, "install")?;
        let disk = scenarios::install(guest)?;
        fs::rename(disk, &installed)?;
        fs::write(&stamp, made_of)?;
    }
    let mut boots = Vec::new();
    for scenario in selected {
        if !boots.contains(&scenario.boot) {
            boots.push(scenario.boot);
        }
    }
    for boot in boots {
        println!("==> {boot}");
        let mut guest = None;
        for scenario in selected.iter().filter(|scenario| scenario.boot == boot) {
            let start = Instant::now();
            println!("    {}: {}", scenario.name, scenario.what);
            let result = scenarios::go(scenario, &made, &installed, &mut guest);
            let row = result.unwrap_or_else(|error| Row::failed(scenario.name, &error));
            println!("        {row} ({} s)", start.elapsed().as_secs());
            rows.push(row);
        }
    }
    println!("{}", table::text(&rows));
    println!("{} s in all", started.elapsed().as_secs());
    Ok(rows)
}

/// Makes the files that guests are made of, unless they are up to date.
fn make(checkout: &Checkout, package: &Path) -> Result<Made> {
    let folder = checkout.root().join("target/virtual-car");
    fs::create_dir_all(&folder)?;
    let packages = Packages::ready(checkout)?;
    println!("of Debian:\n{}", indented(&packages.versions));
    let rig = rig(checkout)?;
    let image = Image::ready(checkout, &packages, &rig)?;
    let engine = engine(checkout, &folder)?;
    let (toml, rig_toml) = (folder.join("car.toml"), folder.join("rig.toml"));
    fs::write(&toml, car::toml("mine.engine"))?;
    fs::write(&rig_toml, car::rig("chicane"))?;
    let payload = image::payload(
        &folder,
        &[
            ("rig", rig.as_path()),
            ("rig.toml", &rig_toml),
            ("car.toml", &toml),
            ("mine.engine", &engine),
            // For the scenarios that compile in the guest.
            (
                "pilotnet.onnx",
                &checkout.root().join("engines/pilotnet.onnx"),
            ),
            ("pilotage_arm64.deb", package),
        ],
    )?;
    Ok(Made {
        root: checkout.root().to_owned(),
        package: package.to_owned(),
        rig,
        folder,
        packages,
        image,
        payload,
    })
}

fn indented(text: &str) -> String {
    let lines = text.lines().filter(|line| {
        ["linux-image", "qemu-system-arm", "v4l2loopback"]
            .iter()
            .any(|name| line.starts_with(name))
    });
    lines.map(|line| format!("    {line}\n")).collect()
}

/// Identifies everything that the installed disk is made from.
fn install_stamp(made: &Made, package: &Path) -> Result<String> {
    let base = fs::metadata(&made.image.disk)?.modified()?;
    let sum = Invocation::new("sha256sum").path(package).answer();
    let sum = sum.with_context(|| package.display().to_string())?;
    let car = fs::read_to_string(made.folder.join("car.toml"))?;
    Ok(format!("{base:?}\n{sum}{car}{}", scenarios::INSTALLING))
}

/// Builds the rig for the guest, linked statically, because it is also the guest's init program.
fn rig(checkout: &Checkout) -> Result<PathBuf> {
    const TARGET: &str = "aarch64-unknown-linux-gnu";
    let variable = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU";
    let build = Invocation::new("cargo build --release --package=virtual-car")
        .arg(format!("--target={TARGET}"))
        .env(&format!("{variable}_LINKER"), "aarch64-linux-gnu-gcc")
        .env(
            &format!("{variable}_RUSTFLAGS"),
            "-C target-feature=+crt-static",
        )
        .within(checkout.root());
    if !build.succeeds()? {
        bail!("`{build}` failed");
    }
    Ok(checkout.builds().join(TARGET).join("release/rig"))
}

/// The shipped network, compiled for a physical car as a user would compile their own.
fn engine(checkout: &Checkout, folder: &Path) -> Result<PathBuf> {
    let engines = checkout.root().join("engines");
    let shipped = engines.join("pilotnet.toml");
    let text = fs::read_to_string(&shipped).with_context(|| shipped.display().to_string())?;
    let model = engines.join("pilotnet.onnx");
    let recipe = text
        .replace("\"pilotnet.onnx\"", &format!("\"{}\"", model.display()))
        .replace(
            "frames = \"frames\"",
            &format!("frames = \"{}\"", engines.join("frames").display()),
        )
        .replace("domain = \"simulated\"", "domain = \"physical\"");
    ensure!(
        recipe.contains("\"physical\""),
        "{} has no domain",
        shipped.display()
    );
    let file = folder.join("mine.toml");
    let engine = folder.join("mine.engine");
    let up_to_date = fs::read_to_string(&file).is_ok_and(|there| there == recipe);
    let age = |file: &Path| fs::metadata(file)?.modified();
    if up_to_date && guest::whole(&engine) && age(&engine)? > age(&model)? {
        return Ok(engine);
    }
    fs::write(&file, &recipe)?;
    // Of the default packages, so that it is the program that the step before has built.
    let compiled = Invocation::new("cargo run --quiet --release -- compile")
        .path(&file)
        .arg("--out")
        .path(&engine)
        .within(checkout.root());
    match compiled.succeeds()? {
        true => Ok(engine),
        false => bail!("`{compiled}` failed"),
    }
}
