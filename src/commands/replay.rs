//! `pilotage replay`: what an engine answers to the pictures of a recording, compared with what the
//! driver did.

mod report;

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use pilotage_console::{print, say};
use pilotage_dataset::{Note, Recording};
use pilotage_engine::InstructionSet;

use crate::car::{BackendKind, Car, Settings};
use crate::plot;
use crate::replay::answers::Answers;
use crate::replay::compare::{Pairs, Unit};
use crate::replay::figures::Figures;
use crate::replay::sheet::{self, Worst};
use crate::replay::worst::worst;
use report::{Compared, Report};

/// Options of `pilotage replay`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The recording: a folder in any format of docs/recordings.md, or an MCAP file
    recording: PathBuf,
    /// A compiled-in engine's name, or an .engine file; twice for two engines side by side; without
    /// it the engine that drives
    #[arg(long = "engine", value_name = "NAME|FILE")]
    engines: Vec<String>,
    /// The car that recorded: its [engine] says what runs the engine, its [mixer] converts speed and
    /// yaw rate to steering and throttle
    #[arg(long, value_name = "FILE")]
    car: Option<PathBuf>,
    /// Threads that the engine may use
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// scalar, avx2, avx-vnni, avx512, avx512-vnni, neon, neon-dotprod or neon-i8mm; the best
    /// available if not given
    #[arg(long, value_name = "NAME")]
    instruction_set: Option<InstructionSet>,
    /// What runs the engine
    #[arg(long, value_enum)]
    engine_backend: Option<BackendKind>,
    /// End with status 1 if the mean absolute error of an engine's steering (-1 to 1), or yaw rate
    /// (rad/s), is larger, or an answer is not a number
    #[arg(long, value_name = "ERROR", value_parser = limit)]
    max_mae: Option<f64>,
    /// Draw predicted and recorded values over time and as a scatter plot
    #[arg(long, value_name = "FILE.png|FILE.svg")]
    plot: Option<PathBuf>,
    /// Write the 20 worst frames of each engine as a contact sheet
    #[arg(long, value_name = "FILE.png")]
    worst: Option<PathBuf>,
    /// Write a page with the figures, the plot and the worst frames; it needs no other file
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

fn limit(text: &str) -> Result<f64, String> {
    let limit: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match limit {
        0.0..=1e6 => Ok(limit),
        _ => Err("must be 0 or more".to_owned()),
    }
}

/// Compares, and prints the results. The exit status is 1 if an engine is past `--max-mae`.
///
/// # Errors
/// Fails if the recording or an engine cannot be read, if both do not fit together, or if a file
/// cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    options.check()?;
    let recording = Recording::open(&options.recording)?;
    warn(recording.notes());
    let cars = options.cars()?;
    let mut engines = Vec::new();
    for car in &cars {
        let answers = Answers::of(&recording, car)?;
        for note in &answers.notes {
            say(format_args!("note: {note}"));
        }
        engines.push(answers);
    }
    // The same pictures for each engine.
    if let Some(answers) = engines.first_mut() {
        warn(&std::mem::take(&mut answers.decoded).notes(&recording));
    }
    let unit = Unit::common(&recording, &engines, options.car.is_some())?;
    let compared: Vec<Compared<'_>> = engines
        .iter()
        .zip(&cars)
        .map(|(answers, car)| compare(&recording, answers, car, unit))
        .collect();
    let report = Report::of(&recording, unit, &compared, options.max_mae)?;
    for engine in report.opposed() {
        say(format_args!(
            "warning: engine `{engine}` steers against the recording: is the sign of one of them \
             reversed? `pilotage data show` checks the recording's"
        ));
    }
    options.write_files(&report, &recording, &compared)?;
    print(match options.json {
        true => serde_json::to_string_pretty(&report)?,
        false => report.text(),
    });
    Ok(match report.is_within() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn compare<'a>(recording: &Recording, answers: &'a Answers, car: &Car, unit: Unit) -> Compared<'a> {
    let quantities = unit.quantities().map(|quantity| {
        let Pairs { pairs, not_finite } = Pairs::of(recording, answers, quantity, &car.mixer);
        let is_lateral = quantity.is_lateral();
        let figures = Figures::of(&pairs, not_finite, quantity.unit(), is_lateral);
        (quantity, pairs, figures)
    });
    Compared {
        answers,
        quantities,
    }
}

impl Options {
    /// Checks what can be checked before the long part.
    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.engines.len() <= 2,
            "--engine is given {} times; two engines are compared at most",
            self.engines.len()
        );
        if let Some(file) = &self.plot {
            plot::is_svg(file)?;
        }
        if let Some(file) = &self.worst {
            plot::is_contact_sheet(file)?;
        }
        if let Some(file) = &self.report {
            let extension = file.extension().and_then(|it| it.to_str());
            ensure!(
                matches!(extension, Some("html" | "htm")),
                "{}: the report is a page; end its name with .html",
                file.display()
            );
        }
        for file in [&self.plot, &self.worst, &self.report]
            .into_iter()
            .flatten()
        {
            writable(file)?;
        }
        Ok(())
    }

    /// A car for each engine.
    fn cars(&self) -> anyhow::Result<Vec<Car>> {
        let engines: Vec<Option<&str>> = match &self.engines[..] {
            [] => vec![None],
            engines => engines.iter().map(|engine| Some(&**engine)).collect(),
        };
        let car = |engine| {
            Car::load_with(self.car.as_deref(), |settings| {
                self.adjust(settings, engine)
            })
        };
        engines.into_iter().map(|engine| Ok(car(engine)?)).collect()
    }

    fn adjust(&self, settings: &mut Settings, named: Option<&str>) {
        super::drive::choose_engine(&mut settings.engine, named);
        let engine = &mut settings.engine;
        engine.threads = self.threads.unwrap_or(engine.threads);
        engine.backend = self.engine_backend.unwrap_or(engine.backend);
        if let Some(set) = self.instruction_set {
            engine.instruction_set = Some(set.name().to_owned());
        }
    }

    fn write_files(
        &self,
        report: &Report,
        recording: &Recording,
        compared: &[Compared<'_>],
    ) -> anyhow::Result<()> {
        let caption = report.caption();
        let names: Vec<String> = compared
            .iter()
            .map(|it| it.answers.engine.clone())
            .collect();
        let replayed = report::replayed(&caption, &names, compared);
        if let Some(file) = &self.plot {
            plot::replay_picture(file, &replayed)?;
        }
        if self.worst.is_none() && self.report.is_none() {
            return Ok(());
        }
        let worst: Vec<Worst<'_>> = compared.iter().filter_map(Compared::worst).collect();
        if let Some(file) = &self.worst {
            sheet::write(file, recording, &worst)?;
        }
        if let Some(file) = &self.report {
            let page = report.page(recording, plot::replay_svg(&replayed)?, &worst);
            fs::write(file, page.html())
                .with_context(|| format!("cannot write the report to {}", file.display()))?;
        }
        Ok(())
    }
}

/// Checks before the long part that a file can be written. A new one is removed again, so that a
/// replay that fails leaves nothing.
fn writable(file: &Path) -> anyhow::Result<()> {
    let try_it = || match OpenOptions::new().create_new(true).append(true).open(file) {
        Ok(_) => fs::remove_file(file),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            OpenOptions::new().append(true).open(file).map(drop)
        }
        Err(error) => Err(error),
    };
    try_it().with_context(|| format!("{} cannot be written", file.display()))
}

fn warn<'a>(notes: impl IntoIterator<Item = &'a Note>) {
    for note in notes {
        say(format_args!("warning: {note}"));
    }
}

impl<'a> Compared<'a> {
    /// The worst frames of the first quantity that was recorded.
    fn worst(&self) -> Option<Worst<'a>> {
        let (quantity, pairs) = self.main()?;
        let frames = worst(pairs).into_iter().map(|place| pairs[place]);
        Some(Worst {
            engine: &self.answers.engine,
            title: quantity.title(),
            is_lateral: quantity.is_lateral(),
            frames: frames.collect(),
        })
    }
}
