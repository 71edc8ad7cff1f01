//! The suite every backend runs, a test for each instruction set of this architecture.
//! Those that the machine lacks are listed as ignored, so that runners count them as
//! skipped: what a machine has is known only at run time, so the harness is written here.
//!
//! `PILOTAGE_MUST_HAVE`, names separated by commas, fails where one of them is lacking.
//! The crate's other tests skip what is lacking without a word.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test prints what it measured"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use std::panic::catch_unwind;
use std::process::ExitCode;

use pilotage_engine::{CpuEngine, CpuOptions, InstructionSet, conformance};

// A pilot may make an engine on one thread and run it on another.
const _: () = {
    const fn moves<T: Send + Sync>() {}
    moves::<CpuEngine>();
};

const MUST_HAVE: &str = "PILOTAGE_MUST_HAVE";

/// All that this architecture may have.
#[cfg(target_arch = "x86_64")]
const SETS: [InstructionSet; 5] = [
    InstructionSet::Scalar,
    InstructionSet::Avx2,
    InstructionSet::AvxVnni,
    InstructionSet::Avx512,
    InstructionSet::Avx512Vnni,
];
#[cfg(target_arch = "aarch64")]
const SETS: [InstructionSet; 4] = [
    InstructionSet::Scalar,
    InstructionSet::Neon,
    InstructionSet::NeonDotprod,
    InstructionSet::NeonI8mm,
];

/// `None` is the test of what must be there.
type Test = Option<InstructionSet>;

fn name(test: Test) -> String {
    match test {
        Some(set) => set.name().replace('-', "_"),
        None => "what_the_machine_must_have_is_there".to_owned(),
    }
}

fn ignored(test: Test) -> bool {
    test.is_some_and(|set| !set.is_available())
}

fn run(test: Test) {
    match test {
        Some(set) => check(set),
        None => must_have(&std::env::var(MUST_HAVE).unwrap_or_default()),
    }
}

fn check(instruction_set: InstructionSet) {
    for threads in [1, 2] {
        conformance::check(&mut |plan| {
            let options = CpuOptions {
                threads,
                instruction_set: Some(instruction_set),
                ..CpuOptions::default()
            };
            Box::new(CpuEngine::new(plan, options).unwrap())
        });
    }
}

fn must_have(names: &str) {
    for name in names.split(',').filter(|name| !name.is_empty()) {
        let set: InstructionSet = name.parse().unwrap();
        assert!(
            set.is_available(),
            "this machine has no {set}, which {MUST_HAVE}={names} demands"
        );
    }
}

/// What of libtest's command line cargo and cargo-nextest use.
#[derive(Default)]
struct Arguments {
    list: bool,
    only_ignored: bool,
    include_ignored: bool,
    exact: bool,
    filters: Vec<String>,
}

impl Arguments {
    fn read() -> Self {
        let mut read = Self::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => read.list = true,
                "--ignored" => read.only_ignored = true,
                "--include-ignored" => read.include_ignored = true,
                "--exact" => read.exact = true,
                "--nocapture" | "--no-capture" | "--show-output" | "--quiet" | "-q" => {}
                "--format" | "--test-threads" | "--color" => drop(arguments.next()),
                other if other.starts_with("--") => panic!("{other} is not known here"),
                filter => read.filters.push(filter.to_owned()),
            }
        }
        read
    }

    fn selects(&self, test: Test) -> bool {
        let name = name(test);
        let fits = |filter: &String| match self.exact {
            true => name == *filter,
            false => name.contains(filter.as_str()),
        };
        self.filters.is_empty() || self.filters.iter().any(fits)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let all: Vec<Test> = SETS.into_iter().map(Some).chain([None]).collect();
    let (selected, filtered): (Vec<Test>, Vec<Test>) =
        all.into_iter().partition(|&test| arguments.selects(test));
    let [mut passed, mut failed, mut skipped] = [0; 3];
    for test in selected {
        let name = name(test);
        if arguments.list {
            if ignored(test) || !arguments.only_ignored {
                println!("{name}: test");
            }
            continue;
        }
        if ignored(test) && !arguments.only_ignored && !arguments.include_ignored {
            skipped += 1;
            println!("test {name} ... ignored, this machine does not have it");
            continue;
        }
        if arguments.only_ignored && !ignored(test) {
            continue;
        }
        match catch_unwind(|| run(test)) {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Err(_) => {
                failed += 1;
                println!("test {name} ... FAILED");
            }
        }
    }
    if arguments.list {
        return ExitCode::SUCCESS;
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; {skipped} ignored; \
         0 measured; {} filtered out\n",
        filtered.len()
    );
    ExitCode::from(u8::from(failed > 0))
}
