//! Runs the conformance suite on the CPU engine, one test for each instruction set of the
//! machine. These are known only at run time, so that the tests are listed in `main` and not
//! by attributes.
//!
//! The variable `PILOTAGE_MUST_HAVE` lists instruction sets, separated by commas; a test fails
//! if one of them is missing. The other tests of the crate skip instruction sets that are
//! missing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use pilotage_engine::{CpuEngine, CpuOptions, InstructionSet, conformance};

// A pilot may create an engine on one thread and run it on another.
const _: () = {
    const fn assert_send_and_sync<T: Send + Sync>() {}
    assert_send_and_sync::<CpuEngine>();
};

const MUST_HAVE: &str = "PILOTAGE_MUST_HAVE";

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

fn main() -> ExitCode {
    let mut tests = vec![Trial::test("what_the_machine_must_have_is_there", || {
        must_have(&std::env::var(MUST_HAVE).unwrap_or_default());
        Ok(())
    })];
    for set in InstructionSet::available() {
        let test = move || {
            check(set);
            Ok(())
        };
        tests.push(Trial::test(set.name().replace('-', "_"), test));
    }
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}
