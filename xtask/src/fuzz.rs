//! Fuzzing with libFuzzer, in the folder layout of cargo-fuzz but without it:
//! the flags below are cargo-fuzz's own, and need nothing installed.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;
use crate::invocation::Invocation;

/// As cargo-fuzz sets them (its `src/project.rs`). The sanitizer is the one that
/// wants `RUSTC_BOOTSTRAP`; it is what catches a single huge allocation. With
/// that, the compiler that builds the project fuzzes it: no nightly to pin.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
    -Zsanitizer=address -Cdebug-assertions -Ccodegen-units=1 --cfg fuzzing";

/// Processes at a time.
const WORKERS: usize = 2;
/// No input may take longer, in seconds.
const TIMEOUT: u32 = 20;
/// No input may take more memory, in MiB.
const MEMORY: u32 = 1024;

/// One fuzz target and where it keeps things.
#[derive(Debug, Clone)]
struct Target {
    name: String,
    program: PathBuf,
    /// Committed inputs, which come with the project.
    seeds: PathBuf,
    /// Inputs found here, kept from run to run.
    corpus: PathBuf,
    log: PathBuf,
    findings: PathBuf,
}

/// What a process of fuzzing ended with.
struct Outcome {
    target: Target,
    succeeded: bool,
    executed: u64,
}

/// Fuzzes `minutes` CPU minutes, shared out evenly among the targets `names`
/// (all when empty). True when nothing was found.
pub fn run(checkout: &Checkout, minutes: f64, names: &[String]) -> Result<bool> {
    let targets = build(checkout, names)?;
    // A lone target takes both processes, on one corpus.
    let rounds = WORKERS.div_ceil(targets.len());
    let processes = targets.len() * rounds;
    let seconds = (minutes * 60.0 / processes as f64).ceil().max(1.0);
    println!("    {processes} processes of {seconds} s, {WORKERS} at a time");

    let mut waiting: VecDeque<_> = (0..rounds)
        .flat_map(|_| targets.iter().cloned())
        .enumerate()
        .collect();
    let mut clean = true;
    while !waiting.is_empty() {
        let together: Vec<_> = waiting
            .drain(..WORKERS.min(waiting.len()))
            .map(|(number, target)| thread::spawn(move || fuzz(target, number, seconds)))
            .collect();
        for process in together {
            let Ok(outcome) = process.join() else {
                bail!("a thread of fuzzing ended early");
            };
            clean &= told(&outcome?);
        }
    }
    Ok(clean)
}

/// Builds the fuzz crates (`crates/*/fuzz`) and lists their targets.
fn build(checkout: &Checkout, names: &[String]) -> Result<Vec<Target>> {
    let triple = host()?;
    let mut targets = Vec::new();
    for folder in folders(checkout)? {
        let build = Invocation::new("cargo build --release --bins")
            .arg("--manifest-path")
            .path(&folder.join("Cargo.toml"))
            .arg(format!("--target={triple}"))
            .arg("--target-dir")
            .path(&checkout.fuzz())
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", FLAGS);
        if !build.succeeds()? {
            bail!("the fuzz targets of {} do not build", folder.display());
        }
        for name in stems(&folder.join("fuzz_targets"))? {
            targets.push(Target {
                program: checkout.fuzz().join(&triple).join("release").join(&name),
                seeds: folder.join("corpus").join(&name),
                corpus: checkout.fuzz().join("corpus").join(&name),
                log: checkout.fuzz().join("logs").join(&name),
                findings: checkout.fuzz().join("findings").join(&name),
                name,
            });
        }
    }
    for name in names {
        if !targets.iter().any(|target| &target.name == name) {
            let all: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
            bail!("no fuzz target `{name}`; there are: {}", all.join(", "));
        }
    }
    if !names.is_empty() {
        targets.retain(|target| names.contains(&target.name));
    }
    if targets.is_empty() {
        bail!("there is no fuzz target under crates/*/fuzz");
    }
    Ok(targets)
}

fn fuzz(target: Target, number: usize, seconds: f64) -> Result<Outcome> {
    for folder in [&target.seeds, &target.corpus, &target.log, &target.findings] {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let mut log = File::create(target.log.join(format!("{number}.log")))?;
    let mut executed = 0;
    // New inputs are written to the first folder only.
    let succeeded = Invocation::of(&target.program)
        .path(&target.corpus)
        .path(&target.seeds)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={TIMEOUT}"))
        .arg(format!("-rss_limit_mb={}", 2 * MEMORY))
        .arg(format!("-malloc_limit_mb={MEMORY}"))
        .arg(format!("-artifact_prefix={}/", target.findings.display()))
        .arg("-print_final_stats=1")
        .listen(|line| {
            let _ = log.write_all(line.as_bytes());
            if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
                executed = count.trim().parse().unwrap_or(0);
            }
            if worth_showing(line) {
                print!("{}: {line}", target.name);
            }
        })?;
    Ok(Outcome {
        target,
        succeeded,
        executed,
    })
}

/// libFuzzer reports every input and word it keeps; its pulse and its end are enough.
fn worth_showing(line: &str) -> bool {
    let told = line.starts_with('#') && !line.contains("pulse") && !line.contains("DONE");
    !told && !line.starts_with("INFO:") && !line.contains("# Uses:")
}

/// Says how a process of fuzzing ended; true when it ran and found nothing.
fn told(outcome: &Outcome) -> bool {
    let Outcome {
        target,
        succeeded,
        executed,
    } = outcome;
    if *succeeded && *executed > 0 {
        println!("    {}: {executed} inputs, nothing found", target.name);
        return true;
    }
    println!(
        "    {}: failed after {executed} inputs; the input is the newest file in {}, the log is in {}; \
         again with: {} FILE",
        target.name,
        target.findings.display(),
        target.log.display(),
        target.program.display()
    );
    false
}

/// The triple of this machine: sanitizers want it given, or they reach build scripts too.
fn host() -> Result<String> {
    let version = Invocation::new("rustc -vV")
        .answer()
        .context("rustc -vV says nothing")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn folders(checkout: &Checkout) -> Result<Vec<PathBuf>> {
    let crates = checkout.root().join("crates");
    let mut folders = Vec::new();
    for entry in fs::read_dir(&crates).with_context(|| format!("reading {}", crates.display()))? {
        let folder = entry?.path().join("fuzz");
        if folder.join("Cargo.toml").exists() {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
}

/// The names of the Rust files in `folder`, less their extension.
fn stems(folder: &Path) -> Result<Vec<String>> {
    let mut stems = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            stems.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    stems.sort();
    Ok(stems)
}
