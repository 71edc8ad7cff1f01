//! `cargo xtask tables`: optimises the shipped network by every strategy, measures and drives the
//! engines with the user's commands, and writes docs/tables.md.

mod driving;
mod markdown;
mod offline;
mod page;
mod pipeline;
mod plans;
mod recipe;
mod reference;
mod results;
mod rows;
mod steps;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;
use tooling::checkout::Checkout;

use crate::circuits::shipped_circuits;
use crate::origin::origin;
use pipeline::{Driver, Pipeline};
use results::{Engine, Made, Results};
use rows::{BASELINE, ROWS, Row};
use steps::timed;

/// The frames to optimise with, and to measure the error on.
const FRAMES: u32 = 12_000;
const TEST_FRAMES: u32 = 2000;
/// The most frames of a recording.
const MOST_FRAMES: u32 = 200_000;

/// The options: how much data, and which rows.
#[derive(Debug, Args)]
pub struct Options {
    /// Frames to optimise with, half of them of the expert's driving, half of the shipped network's
    #[arg(long, value_name = "N", default_value_t = FRAMES,
        value_parser = clap::value_parser!(u32).range(200..=i64::from(MOST_FRAMES)))]
    frames: u32,
    /// Frames on other circuits to measure the error on
    #[arg(long, value_name = "N", default_value_t = TEST_FRAMES,
        value_parser = clap::value_parser!(u32).range(50..=i64::from(MOST_FRAMES)))]
    test_frames: u32,
    /// Passes of each stage of each strategy [default: each row's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    epochs: Option<u32>,
    /// Seeds of the camera's noise: each engine drives each circuit once with each
    #[arg(long, value_name = "1,5,10-20", default_value = "0", value_parser = seeds)]
    seeds: String,
    /// Only these rows, besides float32 (may be given again) [default: all]
    #[arg(long, value_name = "NAME", num_args = 1..,
        value_parser = PossibleValuesParser::new(rows::names()))]
    strategy: Vec<String>,
    /// Write to this file [default: docs/tables.md; with another amount of data or passes, or only
    /// some rows, target/tables/tables.md]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Seeds as `pilotage race` takes them. They are checked here, before all that comes before the race.
fn seeds(text: &str) -> Result<String, String> {
    let is_plain = |it: char| it.is_ascii_digit() || it == ',' || it == '-';
    match text.starts_with(|it: char| it.is_ascii_digit()) && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("must be whole numbers and ranges of them, as 1,5,10-20".to_owned()),
    }
}

impl Options {
    /// Whether the row is to be made. The others are compared with float32, which always is.
    fn takes(&self, row: &Row) -> bool {
        let named = |name: &String| name == row.name;
        self.strategy.is_empty() || row.name == BASELINE || self.strategy.iter().any(named)
    }

    /// The file to write. A part of the rows, or a trial, does not replace the page of all.
    fn page(&self, checkout: &Checkout) -> PathBuf {
        let is_whole = self.strategy.is_empty()
            && self.epochs.is_none()
            && (self.frames, self.test_frames) == (FRAMES, TEST_FRAMES);
        let default = match is_whole {
            true => "docs/tables.md",
            false => "target/tables/tables.md",
        };
        (self.out.clone()).unwrap_or_else(|| checkout.root().join(default))
    }
}

/// Makes both tables. What was done before with the same inputs is not repeated. Returns false if a
/// strategy has no engine; its row states so.
///
/// # Errors
/// When a program does not build or fails, or a file cannot be read or written.
pub fn run(checkout: &Checkout, options: &Options) -> Result<bool> {
    let circuits = shipped_circuits(checkout)?;
    let page = options.page(checkout);
    if let Some(out) = &options.out {
        // Checked before the run.
        let folder = std::path::absolute(out)?;
        ensure!(
            folder.parent().is_some_and(Path::is_dir),
            "--out {}: its folder does not exist; make it first",
            out.display()
        );
    }
    let mut complete = true;
    timed("all tables", || {
        complete = make(checkout, options, &circuits, &page)?;
        Ok(true)
    })?;
    println!("wrote {}", page.display());
    Ok(complete)
}

fn make(checkout: &Checkout, options: &Options, circuits: &[String], page: &Path) -> Result<bool> {
    let pipeline = Pipeline::build(checkout)?;
    let half = options.frames / 2;
    let recordings = vec![
        pipeline.record(
            "train",
            Driver::Expert,
            pipeline::TRAIN_SEED,
            options.frames - half,
        )?,
        pipeline.record("driven", Driver::Shipped, pipeline::DRIVEN_SEED, half)?,
    ];
    let test = pipeline.record(
        "test",
        Driver::Expert,
        pipeline::TEST_SEED,
        options.test_frames,
    )?;
    let mut engines = Vec::new();
    for row in &ROWS {
        let made = match options.takes(row) {
            true => pipeline.engine(row, options.epochs, &recordings)?,
            false => Made::LeftOut,
        };
        engines.push(Engine { row, made });
    }
    ensure!(
        engines.iter().any(|it| it.made.is_engine()),
        "no strategy gave an engine; the messages above say why"
    );
    let offline = pipeline.evaluate(&engines, &test)?;
    let race = pipeline.race(&engines, &offline, circuits, &options.seeds)?;
    let plans = pipeline.plans(&engines)?;
    let text = page::text(&Results {
        engines: &engines,
        offline: &offline,
        race: &race,
        plans: &plans,
        circuits,
        frames: options.frames,
        epochs: options.epochs,
        seeds: &options.seeds,
        origin: origin(checkout),
    });
    fs::write(page, &text).with_context(|| format!("writing {}", page.display()))?;
    Ok(engines.iter().all(|it| !matches!(it.made, Made::Failed(_))))
}
