//! The suite every backend runs, on each instruction set this machine has.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test prints what it measured"
)]
#![allow(clippy::unwrap_used, reason = "a failure is a panic")]

use pilotage_engine::{CpuEngine, CpuOptions, InstructionSet, conformance};

// A pilot may make an engine on one thread and run it on another.
const _: () = {
    const fn moves<T: Send + Sync>() {}
    moves::<CpuEngine>();
};

fn check(instruction_set: InstructionSet) {
    if !instruction_set.is_available() {
        println!("not checked: this machine has no {instruction_set}");
        return;
    }
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

#[test]
fn scalar() {
    check(InstructionSet::Scalar);
}

#[test]
fn avx2() {
    check(InstructionSet::Avx2);
}

#[test]
fn avx512() {
    check(InstructionSet::Avx512);
}

#[test]
fn avx_vnni() {
    check(InstructionSet::AvxVnni);
}

#[test]
fn avx512_vnni() {
    check(InstructionSet::Avx512Vnni);
}

#[test]
fn neon_i8mm() {
    check(InstructionSet::NeonI8mm);
}

#[test]
fn neon_dotprod() {
    check(InstructionSet::NeonDotprod);
}

#[test]
fn neon() {
    check(InstructionSet::Neon);
}
