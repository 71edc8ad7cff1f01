//! Prints the SHA-256 of an engine's outputs for the validation frames in an engine file, for
//! every instruction set of this machine (on aarch64 without the scalar loops). The digest covers the
//! bits of all outputs.
//! `cargo xtask test --only arm` compares the digests of two architectures.
//!
//! `answers RECIPE.toml FILE.engine` compiles the file, `answers FILE.engine` computes the
//! outputs.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example prints its results"
)]

use std::error::Error;

use pilotage_compiler::{Proof, compile};
use pilotage_engine::{
    AxisOrder, Bundle, CpuEngine, CpuOptions, ElementType, Engine, InstructionSet, TensorMut,
    TensorRef,
};
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [recipe, file] => Ok(std::fs::write(file, compile(recipe.as_ref())?.bytes)?),
        [file] => answer(&Bundle::read(&std::fs::read(file)?)?),
        _ => Err("answers [RECIPE.toml] FILE.engine".into()),
    }
}

fn answer(bundle: &Bundle) -> Result<(), Box<dyn Error>> {
    let validation = Proof::of(bundle)?;
    let frames: Vec<Vec<i8>> = validation
        .frames()
        .iter()
        .map(|frame| frame.iter().map(|&p| (p ^ 0x80).cast_signed()).collect())
        .collect();
    for set in InstructionSet::ALL {
        // Skip the scalar loops on aarch64: in the tests it is emulated, and they would take minutes.
        let skipped = set == InstructionSet::Scalar && cfg!(target_arch = "aarch64");
        if skipped || !set.is_available() {
            continue;
        }
        let options = CpuOptions {
            instruction_set: Some(set),
            ..CpuOptions::default()
        };
        let mut engine = CpuEngine::new(&bundle.plan, options)?;
        let [port] = engine.inputs() else {
            return Err("the network must have one input".into());
        };
        if (port.element_type, port.layout) != (ElementType::I8, AxisOrder::Nhwc) {
            return Err(format!("the network's input must be i8 in NHWC, not {port:?}").into());
        }
        let mut outputs: Vec<Vec<f32>> = engine
            .outputs()
            .iter()
            .map(|port| vec![0.0; port.len()])
            .collect();
        let mut digest = Sha256::new();
        for frame in &frames {
            let mut output_views: Vec<_> = outputs
                .iter_mut()
                .map(|output| TensorMut::F32(output))
                .collect();
            engine.infer(&[TensorRef::I8(frame)], &mut output_views)?;
            for value in outputs.iter().flatten() {
                digest.update(value.to_le_bytes());
            }
        }
        let digest = digest.finalize();
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("{digest}  {} frames by {set}", frames.len());
    }
    Ok(())
}
