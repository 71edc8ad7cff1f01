//! Compiles recipes and prints the SHA-256 of each engine file and of each of its sections.
//! `cargo xtask test --only arm` compares the digests of two architectures.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example prints its results"
)]

use std::error::Error;
use std::path::Path;

use pilotage_compiler::compile;
use pilotage_engine::Bundle;
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    for recipe in std::env::args_os().skip(1) {
        let recipe = Path::new(&recipe);
        let compiled = compile(recipe)?;
        let bundle = Bundle::read(&compiled.bytes)?;
        let name = &compiled.manifest.name;
        for (section, bytes) in &bundle.sections {
            println!("{}  {name} {section}", hexadecimal(bytes));
        }
        println!("{}  {name} engine file", hexadecimal(&compiled.bytes));
    }
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
