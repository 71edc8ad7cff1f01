//! The results: as JSON, as a table, as a page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use pilotage_dataset::Recording;
use pilotage_vehicle::Domain;
use serde::Serialize;

use crate::plot::{Caption, Panel, PlottedFrame, Replayed};
use crate::replay::answers::Answers;
use crate::replay::compare::{Pair, Quantity, Unit};
use crate::replay::figures::{Figures, Lag, period, runs};
use crate::replay::page::{Figure, Page, Table};
use crate::replay::sheet::{self, Worst};
use crate::replay::worst::worst;
use crate::times::Times;

/// A correlation below this is that of a reversed sign.
const OPPOSED: f64 = -0.5;

/// One engine's answers, compared.
pub(super) struct Compared<'a> {
    pub answers: &'a Answers,
    /// With the pairs and their figures; no figures without pairs.
    pub quantities: [(Quantity, Vec<Pair>, Option<Figures>); 2],
}

impl Compared<'_> {
    /// The first quantity that was recorded.
    pub fn main(&self) -> Option<(Quantity, &[Pair])> {
        let mut found = self
            .quantities
            .iter()
            .filter(|(_, pairs, _)| !pairs.is_empty());
        found
            .next()
            .map(|(quantity, pairs, _)| (*quantity, &**pairs))
    }
}

/// All results.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    recording: Source,
    /// What is compared.
    compared: &'static str,
    engines: Vec<Engine>,
    limit: Option<Limit>,
}

#[derive(Debug, Serialize)]
struct Source {
    folder: PathBuf,
    format: &'static str,
    records: usize,
    /// The median rate, Hz.
    rate: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Engine {
    name: String,
    backend: String,
    domain: Domain,
    /// Answered pictures.
    frames: usize,
    /// Answers of the fallback in the engine's place.
    fallback: usize,
    /// By the quantity's name.
    #[serde(flatten)]
    figures: BTreeMap<&'static str, Figures>,
    vision: Times,
    inference: Times,
    worst: Vec<WorstFrame>,
}

#[derive(Debug, Serialize)]
struct WorstFrame {
    picture: String,
    /// The line of the list; see `Record::line`.
    line: u64,
    time: Option<f64>,
    recorded: f64,
    predicted: f64,
    error: f64,
}

#[derive(Debug, Serialize)]
struct Limit {
    /// The largest mean absolute error.
    mae: f64,
    /// Of what.
    quantity: &'static str,
    passed: bool,
}

impl Report {
    /// # Errors
    /// When `max_mae` limits what was not recorded, or nothing can be compared.
    pub fn of(
        recording: &Recording,
        unit: Unit,
        compared: &[Compared<'_>],
        max_mae: Option<f64>,
    ) -> anyhow::Result<Self> {
        let engines: Vec<Engine> = compared
            .iter()
            .map(|compared| Engine::of(recording, compared))
            .collect();
        for engine in &engines {
            ensure!(
                !engine.figures.is_empty(),
                "engine `{}`: none of its answers is a number where the recording has a value",
                engine.name
            );
        }
        let limit = match max_mae {
            Some(mae) => Some(Limit::of(mae, unit, &engines)?),
            None => None,
        };
        let main = compared.first().and_then(Compared::main);
        Ok(Self {
            recording: Source {
                folder: recording.folder().to_owned(),
                format: recording.format().name(),
                records: recording.records().len(),
                rate: main.and_then(|(_, pairs)| period(pairs)).map(|it| 1.0 / it),
            },
            compared: unit.name(),
            engines,
            limit,
        })
    }

    pub fn is_within(&self) -> bool {
        self.limit.as_ref().is_none_or(|limit| limit.passed)
    }

    /// The engines that steer to the other side than the driver.
    pub fn opposed(&self) -> impl Iterator<Item = &str> {
        let is_opposed = |engine: &&Engine| {
            let lateral = [Quantity::Steering, Quantity::YawRate].map(Quantity::name);
            let mut figures = lateral.iter().filter_map(|name| engine.figures.get(name));
            figures.any(|it| it.correlation.is_some_and(|it| it < OPPOSED))
        };
        self.engines.iter().filter(is_opposed).map(|it| &*it.name)
    }

    /// The title and main figures of the plot.
    pub fn caption(&self) -> Caption {
        let mut figures = Vec::new();
        for engine in &self.engines {
            for quantity in [Quantity::Steering, Quantity::YawRate] {
                if let Some(of) = engine.figures.get(quantity.name()) {
                    let name = format!("{}: mean absolute error", engine.name);
                    figures.push((name, format!("{:.4}", of.errors.mae)));
                }
            }
        }
        let folder = self.recording.folder.display();
        Caption {
            title: format!("{folder}: predicted and recorded"),
            figures,
            completed: true,
        }
    }

    /// The results as a table.
    pub fn text(&self) -> String {
        let mut text = self.about().join("\n");
        for table in self.tables() {
            // Writing to a String does not fail.
            let _ = write!(text, "\n\n{}", table.title);
            let columns = [(String::new(), table.columns)];
            for (name, values) in columns.iter().chain(&table.rows) {
                let _ = write!(text, "\n  {name:<24}");
                for value in values {
                    let _ = write!(text, " {value:>22}");
                }
            }
        }
        for engine in &self.engines {
            let _ = write!(text, "\n\nworst frames of {}", engine.name);
            for frame in engine.worst.iter().take(5) {
                let _ = write!(text, "\n  {}", frame.text());
            }
        }
        if let Some(verdict) = self.verdict() {
            let _ = write!(text, "\n\n{verdict}");
        }
        text
    }

    fn about(&self) -> Vec<String> {
        let Source {
            folder,
            format,
            records,
            rate,
        } = &self.recording;
        let rate = rate.map_or(String::new(), |rate| format!(", {rate:.2} Hz"));
        let mut lines = vec![
            format!("{}: {format}, {records} records{rate}", folder.display()),
            format!("compared: {}", self.compared),
        ];
        for engine in &self.engines {
            let Engine {
                name,
                backend,
                frames,
                fallback,
                ..
            } = engine;
            let fallback = match fallback {
                0 => String::new(),
                count => format!("; the fallback answered {count} of them"),
            };
            lines.push(format!("{name}: {backend}, {frames} frames{fallback}"));
        }
        lines
    }

    fn tables(&self) -> Vec<Table> {
        let columns: Vec<String> = self.engines.iter().map(|it| shortened(&it.name)).collect();
        let mut tables = Vec::new();
        let all = [
            Quantity::Steering,
            Quantity::Throttle,
            Quantity::YawRate,
            Quantity::Speed,
        ];
        for quantity in all {
            let figures = self
                .engines
                .iter()
                .map(|it| it.figures.get(quantity.name()));
            let figures: Vec<Option<&Figures>> = figures.collect();
            if figures.iter().any(Option::is_some) {
                tables.push(Table {
                    title: quantity.title().to_owned(),
                    columns: columns.clone(),
                    rows: rows(&figures),
                });
            }
        }
        let times = |of: fn(&Engine) -> Times| -> Vec<String> {
            let times = self.engines.iter().map(of);
            let ms = |us: f64| us * 1e-3;
            times
                .map(|it| format!("{:.2} / {:.2}", ms(it.p50_us), ms(it.p99_us)))
                .collect()
        };
        tables.push(Table {
            title: "time per frame, ms: median / 99 %".to_owned(),
            columns,
            rows: vec![
                ("vision".to_owned(), times(|it| it.vision)),
                ("inference".to_owned(), times(|it| it.inference)),
            ],
        });
        tables
    }

    fn verdict(&self) -> Option<String> {
        let Limit {
            mae,
            quantity,
            passed,
        } = self.limit.as_ref()?;
        let is = if *passed { "within" } else { "PAST" };
        Some(format!(
            "{is} the limit: mean absolute error of the {} at most {mae}",
            quantity.replace('_', " ")
        ))
    }

    /// The results as a page.
    pub fn page(&self, recording: &Recording, plot: String, worst: &[Worst<'_>]) -> Page {
        let sections = worst.iter().map(|worst| {
            let title = format!("{}: worst frames ({})", worst.engine, worst.title);
            let figures = worst.frames.iter().map(|pair| Figure {
                address: sheet::data_uri(recording, pair),
                caption: WorstFrame::of(recording, pair).text(),
            });
            (title, figures.collect())
        });
        Page {
            title: format!("Replay of {}", self.recording.folder.display()),
            about: self.about(),
            verdict: self.verdict().map(|verdict| (verdict, self.is_within())),
            tables: self.tables(),
            plot,
            worst: sections.collect(),
        }
    }
}

impl Engine {
    fn of(recording: &Recording, compared: &Compared<'_>) -> Self {
        let answers = compared.answers;
        let figures = compared.quantities.iter();
        let figures = figures.filter_map(|(quantity, _, it)| Some((quantity.name(), it.clone()?)));
        let frames = compared.main().map_or(Vec::new(), |(_, pairs)| {
            let frames = worst(pairs).into_iter();
            frames
                .map(|place| WorstFrame::of(recording, &pairs[place]))
                .collect()
        });
        Self {
            name: answers.engine.clone(),
            backend: answers.backend.clone(),
            domain: answers.domain,
            frames: answers.answers.len(),
            fallback: answers.fallback,
            figures: figures.collect(),
            vision: answers.vision,
            inference: answers.inference,
            worst: frames,
        }
    }
}

impl WorstFrame {
    fn of(recording: &Recording, pair: &Pair) -> Self {
        let record = &recording.records()[pair.index];
        Self {
            picture: sheet::name(recording, pair),
            line: record.line,
            time: record.time,
            recorded: pair.recorded,
            predicted: pair.predicted,
            error: pair.error(),
        }
    }

    fn text(&self) -> String {
        format!(
            "{}: recorded {:+.3}, predicted {:+.3}, error {:+.3}",
            self.picture, self.recorded, self.predicted, self.error
        )
    }
}

impl Limit {
    fn of(mae: f64, unit: Unit, engines: &[Engine]) -> anyhow::Result<Self> {
        let [lateral, _] = unit.quantities();
        let quantity = lateral.name();
        let mut passed = true;
        for engine in engines {
            let figures = engine.figures.get(quantity).with_context(|| {
                format!(
                    "--max-mae limits the error of the {}, which the recording does not have",
                    quantity.replace('_', " ")
                )
            })?;
            passed &= figures.errors.mae <= mae && figures.not_finite == 0;
        }
        Ok(Self {
            mae,
            quantity,
            passed,
        })
    }
}

/// The rows of a quantity, with a column for each engine.
fn rows(figures: &[Option<&Figures>]) -> Vec<(String, Vec<String>)> {
    let number = |value: f64| format!("{value:.4}");
    let mut rows = Vec::new();
    let mut row = |name: &str, value: &dyn Fn(&Figures) -> String| {
        let values = figures.iter().map(|it| it.map_or("-".to_owned(), value));
        rows.push((name.to_owned(), values.collect()));
    };
    row("frames", &|it| it.frames.to_string());
    row("mean absolute error", &|it| number(it.errors.mae));
    row("  always the mean", &|it| number(it.always_mean.mae));
    if figures
        .iter()
        .flatten()
        .any(|it| it.always_straight.is_some())
    {
        row("  always straight", &|it| {
            it.always_straight
                .map_or("-".to_owned(), |it| number(it.mae))
        });
    }
    row("RMS error", &|it| number(it.errors.rmse));
    row("  always the mean", &|it| number(it.always_mean.rmse));
    row("bias", &|it| format!("{:+.4}", it.bias));
    row("largest error", &|it| number(it.largest));
    row("correlation", &|it| {
        it.correlation
            .map_or("none".to_owned(), |it| format!("{it:.3}"))
    });
    row("lag of the prediction", &|it| lag(it.lag));
    if figures.iter().flatten().any(|it| it.not_finite > 0) {
        row("not a number", &|it| it.not_finite.to_string());
    }
    rows
}

fn lag(lag: Option<Lag>) -> String {
    match lag {
        Some(Lag {
            frames,
            ms: Some(ms),
            ..
        }) => format!("{frames} frames, {ms:.0} ms"),
        Some(Lag { frames, .. }) => format!("{frames} frames"),
        None => "unknown".to_owned(),
    }
}

/// A name for a column.
fn shortened(name: &str) -> String {
    name.chars().take(22).collect()
}

/// The data of the plot.
pub(super) fn replayed<'a>(
    caption: &'a Caption,
    engines: &'a [String],
    compared: &[Compared<'_>],
) -> Replayed<'a> {
    let mut panels = Vec::new();
    let mut has_times = true;
    for place in 0..2 {
        let Some((quantity, first, _)) = compared.first().map(|it| &it.quantities[place]) else {
            continue;
        };
        if first.is_empty() {
            continue;
        }
        has_times &= first.iter().all(|pair| pair.time.is_some());
        let start = first.first().and_then(|pair| pair.time).unwrap_or(0.0);
        let others: Vec<BTreeMap<usize, f64>> = compared
            .iter()
            .map(|it| {
                it.quantities[place]
                    .1
                    .iter()
                    .map(|pair| (pair.index, pair.predicted))
            })
            .map(Iterator::collect)
            .collect();
        let point = |pair: &Pair| PlottedFrame {
            at: match pair.time {
                Some(time) => time - start,
                None => pair.index as f64,
            },
            recorded: pair.recorded,
            answers: others
                .iter()
                .map(|it| it.get(&pair.index).copied())
                .collect(),
        };
        let runs = runs(first).into_iter();
        panels.push(Panel {
            title: quantity.title(),
            runs: runs.map(|run| run.iter().map(point).collect()).collect(),
        });
    }
    Replayed {
        caption,
        engines,
        axis: if has_times { "seconds" } else { "frames" },
        panels,
    }
}
