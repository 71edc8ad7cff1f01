//! `cargo xtask stand-ins`: the GPU path with stand-ins for the versions of TensorRT whose headers the
//! tests cannot install. The results are for docs/tensorrt.md.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use tooling::checkout::Checkout;
use tooling::invocation::Invocation;
use tooling::requirements::{self, Requirement};
use tooling::tally::Tally;

/// The options of the task.
#[derive(Debug, Args)]
pub struct Options {
    /// A clone of `https://github.com/NVIDIA/TensorRT`, without a work tree or with one
    #[arg(long, value_name = "CLONE")]
    tensorrt: PathBuf,
    /// A clone of `https://github.com/onnx/onnx-tensorrt`, which has the parser's header
    #[arg(long, value_name = "CLONE")]
    onnx_tensorrt: PathBuf,
    /// Only this version (may be given again)
    #[arg(long, value_name = "VERSION")]
    version: Vec<String>,
    /// A C++ compiler for the shim (may be given again)
    #[arg(long, value_name = "COMMAND", default_value = "c++")]
    compiler: Vec<String>,
}

/// The commits that have the headers of one version. Git checks what it reads against their numbers.
struct Version {
    name: &'static str,
    /// The commit of NVIDIA/TensorRT with the folder `include`.
    headers: &'static str,
    parser: Parser,
}

/// Where NvOnnxParser.h is.
enum Parser {
    /// A commit of onnx/onnx-tensorrt, and the version that it is of if it is another.
    OnnxTensorRt(&'static str, Option<&'static str>),
    /// A commit of NVIDIA/TensorRT, likewise.
    TensorRt(&'static str, Option<&'static str>),
}

/// onnx/onnx-tensorrt's last tag is of 10.1, and NVIDIA/TensorRT has the parser's header since 10.14. In
/// both the functions that the shim calls, and all before them, are the same.
const VERSIONS: [Version; 6] = [
    Version {
        name: "8.2.1",
        headers: "6f38570b74066ef464744bc789f8512191f1cbc0",
        parser: Parser::OnnxTensorRt("e9456d57605c883cdf985e634ab483e2c1500bb1", None),
    },
    Version {
        name: "8.5.2",
        headers: "ad932f72126f875392a4336d9ee45b2756d934a0",
        parser: Parser::OnnxTensorRt("7583da4c62475e84b7be31f4b8fb0c101873d434", None),
    },
    Version {
        name: "8.6.1",
        headers: "a25ca8bba2a164179046afc2f5d7f478e280f8c0",
        parser: Parser::OnnxTensorRt("6ba67d3428e05f690145373ca87fb8d32f98df45", None),
    },
    Version {
        name: "10.3.0",
        headers: "c5b9de37f7ef9034e2efc621c664145c7c12436e",
        parser: Parser::OnnxTensorRt("96e781103cfc4adf4a6bb557e94bac8e693f6f4c", Some("10.1")),
    },
    Version {
        name: "10.13.3",
        headers: "94e2b9ef6d2cce74c76cdad499cca36cc4949197",
        parser: Parser::TensorRt("3b4ddc1d45f11167f2ea53dc6046bba8df800e2d", Some("10.14")),
    },
    Version {
        name: "11.1.0",
        headers: "82d1dca801c8318a5605399d5240780d0679e4e1",
        parser: Parser::TensorRt("82d1dca801c8318a5605399d5240780d0679e4e1", None),
    },
];

/// The tests of tests/gpu that depend on TensorRT's version.
const TESTS: [&str; 6] = [
    "the_stand_in_drives_the_same_lap_as_the_cpu",
    "the_cars_commands_do_not_change_whichever_call_fails",
    "the_cpu_answers_in_place_of_an_invalid_answer",
    "the_process_of_the_engine_is_replaced_and_the_car_drives_on",
    "without_a_fallback_the_car_stops",
    "memory_is_used_correctly_on_a_lap_and_when_calls_fail",
];

/// Takes the headers of each version from the clones, compiles the shim with each compiler, and runs the
/// shim's tests and the drives with faults. Prints a table, and returns true when all passed.
pub fn run(checkout: &Checkout, options: &Options) -> Result<bool> {
    requirements::ensure(checkout, &[Requirement::Nextest], false)?;
    let known = |name: &String| VERSIONS.iter().any(|version| version.name == name);
    if let Some(unknown) = options.version.iter().find(|name| !known(name)) {
        let names = VERSIONS.map(|version| version.name).join(", ");
        bail!("there is no version {unknown}, only {names}");
    }
    let selected = |version: &&Version| {
        options.version.is_empty() || options.version.iter().any(|name| name == version.name)
    };
    let mut table = vec![
        "| TensorRT | the shim compiles with | tests of the shim | tests of drives | faults |"
            .to_owned(),
        "| --- | --- | --- | --- | --- |".to_owned(),
    ];
    let mut passed = true;
    for version in VERSIONS.iter().filter(selected) {
        println!("==> TensorRT {}", version.name);
        let headers = version.extract(checkout, options)?;
        let mut compilers = Vec::new();
        for compiler in &options.compiler {
            let compiles = compile(checkout, &headers, compiler)?;
            passed &= compiles;
            compilers.push(match compiles {
                true => compiler.clone(),
                false => format!("NOT {compiler}"),
            });
        }
        let mut faults = String::new();
        let shim = test(checkout, &headers, "behind_the_shim", &[], &mut faults)?;
        let drives = test(checkout, &headers, "gpu", &TESTS, &mut faults)?;
        passed &= shim.failed + drives.failed == 0;
        let parser = match version.parser {
            Parser::OnnxTensorRt(_, Some(of)) | Parser::TensorRt(_, Some(of)) => {
                format!(", parser's header of {of}")
            }
            _ => String::new(),
        };
        table.push(format!(
            "| {}{parser} | {} | {shim} | {drives} | {faults} |",
            version.name,
            compilers.join(", ")
        ));
    }
    println!("{}", table.join("\n"));
    Ok(passed)
}

impl Version {
    /// Writes the headers to a folder under target/, and returns it.
    fn extract(&self, checkout: &Checkout, options: &Options) -> Result<PathBuf> {
        let folder = checkout
            .root()
            .join("target/stand-ins")
            .join(format!("TRT-{}", self.name));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let (parsers, parser, path) = match self.parser {
            Parser::OnnxTensorRt(commit, _) => (&options.onnx_tensorrt, commit, "NvOnnxParser.h"),
            Parser::TensorRt(commit, _) => (&options.tensorrt, commit, "include/NvOnnxParser.h"),
        };
        let script = format!(
            r#"set -e; git -C "$1" archive {headers} include | tar -x --strip-components=1 -C "$0"
git -C "$2" show {parser}:{path} > "$0/NvOnnxParser.h""#,
            headers = self.headers
        );
        let extracted = Invocation::new("bash -o pipefail -c")
            .arg(script)
            .path(&folder)
            .path(&options.tensorrt)
            .path(parsers)
            .succeeds()?;
        if !extracted {
            bail!(
                "the clones lack the headers of {}: fetch all tags, and no shallow clone",
                self.name
            );
        }
        Ok(folder)
    }
}

/// Compiles the shim, warnings denied.
fn compile(checkout: &Checkout, headers: &Path, compiler: &str) -> Result<bool> {
    let out = checkout.root().join("target/stand-ins/shims");
    Invocation::new("cargo run --quiet --package=tensorrt-rs --example=shims --")
        .path(&out)
        .path(headers)
        .env("CXX", compiler)
        .within(checkout.root())
        .succeeds()
}

/// Runs the tests `names` of the test program `program`, all of them without names, with stand-ins of the
/// version of `headers`. What they print of faults is written to `faults`.
fn test(
    checkout: &Checkout,
    headers: &Path,
    program: &str,
    names: &[&str],
    faults: &mut String,
) -> Result<Tally> {
    let mut tests = requirements::nextest(checkout)?
        .arg("run")
        .arg("--workspace")
        .arg("--profile=all")
        .arg("--no-capture")
        .arg(format!("--test={program}"))
        .env("PILOTAGE_STAND_IN_HEADERS", headers)
        .within(checkout.root());
    if !names.is_empty() {
        tests = tests.arg("--");
    }
    for name in names {
        tests = tests.arg(*name);
    }
    let mut tally = Tally::default();
    let succeeded = tests.stream(|line| {
        tally += Tally::from_nextest(line).unwrap_or_default();
        if let Some((_, found)) = line.split_once(": ")
            && found.contains(" end as docs/tensorrt.md says")
        {
            found.trim_end().clone_into(faults);
        }
    })?;
    if !succeeded && tally.failed == 0 {
        tally += Tally::FAILED;
    }
    if !names.is_empty() && tally.passed + tally.failed != names.len() as u64 {
        println!("error: not every test of {names:?} exists in tests/{program}");
        tally += Tally::FAILED;
    }
    // The other tests of the program do not depend on the version.
    tally.skipped = 0;
    Ok(tally)
}
