//! Fuzzing with libFuzzer, in the folder layout of cargo-fuzz but without that tool: with the flags
//! of cargo-fuzz below, nothing has to be installed.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail};

use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

/// The flags of cargo-fuzz (its `src/project.rs`). Only the sanitizer needs `RUSTC_BOOTSTRAP`; it
/// detects a single huge allocation. With that variable, the project's stable compiler builds the
/// fuzz targets, and no nightly has to be pinned.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
    -Zsanitizer=address -Cdebug-assertions -Ccodegen-units=1 --cfg fuzzing";

/// The number of concurrent processes.
const WORKERS: usize = 2;
/// The time limit for one input, in seconds.
const TIMEOUT: u32 = 20;
/// The memory limit for one input, in MiB.
const MEMORY: u32 = 1024;

/// A fuzz target and its paths.
#[derive(Debug, Clone)]
struct Target {
    name: String,
    program: PathBuf,
    /// The inputs that are committed to the repository.
    seeds: PathBuf,
    /// The inputs found on this machine, kept between runs.
    corpus: PathBuf,
    log: PathBuf,
    findings: PathBuf,
}

/// The result of one fuzzing process.
struct Outcome {
    target: Target,
    succeeded: bool,
    executed: u64,
}

/// Fuzzes for `minutes` CPU minutes, divided evenly among the targets `names` (all targets when
/// empty). Returns true when no failing input was found.
pub fn run(checkout: &Checkout, minutes: f64, names: &[String]) -> Result<bool> {
    let targets = build(checkout, names)?;
    // A single target uses both processes, on one corpus.
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
        let running: Vec<_> = waiting
            .drain(..WORKERS.min(waiting.len()))
            .map(|(number, target)| thread::spawn(move || fuzz(target, number, seconds)))
            .collect();
        for process in running {
            let Ok(outcome) = process.join() else {
                bail!("a fuzzing thread panicked");
            };
            clean &= report(&outcome?);
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
    // libFuzzer writes new inputs to the first folder only.
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

/// Whether to print a line of libFuzzer. It reports every input and every dictionary word that it
/// keeps; the periodic status and the final report are enough.
fn worth_showing(line: &str) -> bool {
    let routine = line.starts_with('#') && !line.contains("pulse") && !line.contains("DONE");
    !routine && !line.starts_with("INFO:") && !line.contains("# Uses:")
}

/// Prints the result of a fuzzing process. Returns true when it ran and found nothing.
fn report(outcome: &Outcome) -> bool {
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

/// The target triple of this machine. With sanitizers it has to be given to cargo: otherwise the
/// flags apply to build scripts too.
fn host() -> Result<String> {
    let version = Invocation::new("rustc -vV")
        .answer()
        .context("rustc -vV failed")?;
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

/// The names of the Rust files in `folder`, without their extension.
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
