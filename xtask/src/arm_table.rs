//! `cargo xtask arm-table`: counts the instructions that this engine, ONNX Runtime and LiteRT need
//! for the shipped network on emulated Arm processors, and estimates their cycles by LLVM's models.
//! Nothing is timed.

mod blocks;
mod engines;
mod install;
mod instruction;
mod machine;
mod mca;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use tooling::checkout::Checkout;
use tooling::requirements::{self, Requirement};

use blocks::Block;
use engines::{ENGINES, Emulated, Engine, PRECISIONS};
use machine::{MACHINES, Machine};
use mca::Llvm;
use table::{Counted, Estimate};

/// The options: what to count.
#[derive(Debug, Args)]
pub struct Options {
    /// First install what this needs: Debian packages and the Rust target
    #[arg(long)]
    install: bool,
    /// Inferences whose instructions are counted
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
    inferences: u64,
    /// Only these processors, by a part of QEMU's name: cortex-a57, cortex-a76, max
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// The program `pilotage` that compiles the network [default: built here for release]
    #[arg(long, value_name = "FILE")]
    pilotage: Option<PathBuf>,
    /// Also write the assembly of each engine's blocks with the most instructions to this folder
    #[arg(long, value_name = "FOLDER")]
    blocks: Option<PathBuf>,
}

/// What the command needs on the machine.
const REQUIREMENTS: [Requirement; 6] = [
    Requirement::CCompiler,
    Requirement::ArmTarget,
    Requirement::ArmCompiler,
    Requirement::ArmEmulator,
    Requirement::ArmRoots,
    Requirement::Python,
];

/// The blocks with this share of the instructions are scheduled by llvm-mca.
const SCHEDULED: f64 = 0.98;
/// So many of them are written for `--blocks`.
const SHOWN: usize = 12;

/// Installs, counts and prints the tables. Returns true when every engine's answers are right.
pub fn run(checkout: &Checkout, options: &Options) -> Result<bool> {
    requirements::ensure(checkout, &REQUIREMENTS, options.install)?;
    let chosen: Vec<&Machine> = MACHINES
        .iter()
        .filter(|machine| {
            let named = |name: &String| machine.emulated.contains(name.as_str());
            options.only.is_empty() || options.only.iter().any(named)
        })
        .collect();
    ensure!(!chosen.is_empty(), "--only names none of the processors");
    let emulated = install::emulated(checkout, options.pilotage.as_deref())?;
    let llvm = Llvm::fetched(&emulated.folder.join(format!("llvm-{}", mca::RELEASE)))?;
    let mut rows = Vec::new();
    let mut right = true;
    for machine in chosen {
        machine.describe(&emulated.root)?;
        for precision in PRECISIONS {
            for engine in ENGINES {
                println!("==> {}, {precision}, {}", machine.name, engine.name());
                let blocks = emulated.counted(machine, engine, precision, options.inferences)?;
                right &= blocks.right;
                let row = estimated(&llvm, &emulated, machine, precision, engine, blocks.blocks)?;
                if let Some(folder) = &options.blocks {
                    show(&llvm, &emulated, &row, folder)?;
                }
                rows.push(row);
            }
        }
    }
    println!(
        "\n{}, {}, llvm-mca {}; {} inferences counted\n\n{}",
        emulated.versions,
        emulated.emulator(),
        llvm.version(),
        options.inferences,
        table::markdown(&rows, engines::MULTIPLY_ADDS)
    );
    Ok(right)
}

/// Adds the estimates of the machine's models to what was counted.
fn estimated(
    llvm: &Llvm,
    emulated: &Emulated,
    machine: &Machine,
    precision: &'static str,
    engine: Engine,
    blocks: Vec<Block>,
) -> Result<Counted> {
    let mut row = Counted {
        machine: machine.name,
        precision,
        engine: engine.name(),
        blocks,
        estimates: Vec::new(),
    };
    let hottest = row.hottest();
    let count = table::most_of(&row.blocks, SCHEDULED).max(hottest + 1);
    let scheduled = &row.blocks[..count];
    let words = scheduled.iter().flat_map(|block| &block.words);
    let names = llvm.disassemble(words, &emulated.folder)?;
    let assembly = |words: &mut dyn Iterator<Item = &u32>| {
        words
            .map(|word| names[word].as_str())
            .collect::<Vec<&str>>()
    };
    let mut regions: Vec<_> = scheduled
        .iter()
        .map(|block| assembly(&mut block.words.iter()))
        .collect();
    let multiplies = |word: &&u32| instruction::multiply_adds(**word) > 0;
    let alone = assembly(&mut row.blocks[hottest].words.iter().filter(multiplies));
    regions.push(alone);
    for &model in machine.models {
        let mut cycles = llvm.cycles(model, &regions, &emulated.folder)?;
        let bound = cycles.pop().unwrap_or_default();
        row.estimates.push(Estimate {
            model,
            cycles,
            bound,
        });
    }
    Ok(row)
}

/// Writes the blocks with the most instructions, with their share and their cycles by each model.
fn show(llvm: &Llvm, emulated: &Emulated, row: &Counted, folder: &Path) -> Result<()> {
    let shown = &row.blocks[..SHOWN.min(row.blocks.len())];
    let words = shown.iter().flat_map(|block| &block.words);
    let names = llvm.disassemble(words, &emulated.folder)?;
    let mut text = String::new();
    for (index, block) in shown.iter().enumerate() {
        text.push_str(&format!(
            "// {:.0} executions, {:.1} % of the instructions, {} multiply-adds",
            block.executions,
            100.0 * block.instructions() / row.instructions(),
            table::block_multiply_adds(block)
        ));
        for estimate in &row.estimates {
            if let Some(cycles) = estimate.cycles.get(index) {
                text.push_str(&format!(", {}: {cycles:.1} cycles", estimate.model));
            }
        }
        text.push('\n');
        for word in &block.words {
            text.push_str(&format!("    {}\n", names[word]));
        }
    }
    fs::create_dir_all(folder)?;
    let processor = row.machine.split(" (").next().unwrap_or_default();
    let file = format!("{processor}.{}.{}.s", row.precision, row.engine);
    fs::write(folder.join(file.replace(' ', "-")), text)?;
    Ok(())
}
