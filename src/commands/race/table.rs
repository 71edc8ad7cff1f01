//! The tables of a race.

use serde::Serialize;

use super::driven::Driven;
use super::plan::{Conditions, Job, Plan};
use super::store::Results;
use crate::results::{Statistics, Table, number, value};

/// An engine on a circuit: mean and spread over the seeds. All averages are over the drives that
/// were finished.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Summary {
    pub engine: String,
    pub precision: String,
    pub bytes: u64,
    pub circuit: String,
    /// What the position deviation is measured against.
    pub deviation_reference: &'static str,
    pub seeds: Vec<u64>,
    pub finished: usize,
    /// How the other drives ended, with their seeds.
    pub not_finished: Vec<String>,
    /// What ran the engine.
    pub framework: Vec<String>,
    pub processors: Vec<String>,
    pub average_speed: Option<Statistics>,
    pub position_deviation_mae: Option<Statistics>,
    pub brain_iteration_frequency: Option<Statistics>,
    pub mean_inference_time: Option<Statistics>,
    pub real_time_factor: Option<Statistics>,
    pub lap_time: Option<Statistics>,
    pub deviation_mean: Option<Statistics>,
    pub deviation_p95: Option<Statistics>,
    pub deviation_max: Option<Statistics>,
    /// As Behavior Metrics computes them.
    pub behavior_metrics_average_speed: Option<Statistics>,
    pub behavior_metrics_mean_inference_time: Option<Statistics>,
    /// Median from frame to command.
    pub thinking_p50_us: Option<Statistics>,
    /// Frames that the loop did not get, as a share of all.
    pub missed_share: Option<Statistics>,
}

impl Summary {
    /// A row for each engine and circuit that has a result, in the order of the plan.
    pub fn all(plan: &Plan, results: &Results) -> Vec<Self> {
        let mut all = Vec::new();
        for engine in &plan.engines {
            for circuit in &plan.circuits {
                let of_row = |job: &&Job| job.engine == engine.name && job.circuit == circuit.name;
                let driven: Vec<(u64, &Driven)> = (results.iter())
                    .filter(|(job, _)| of_row(job))
                    .map(|(job, driven)| (job.seed, driven))
                    .collect();
                if driven.is_empty() {
                    continue;
                }
                let mut row = Self::of(&driven);
                row.engine.clone_from(&engine.name);
                row.precision.clone_from(&engine.precision);
                row.bytes = engine.bytes;
                row.circuit.clone_from(&circuit.name);
                row.deviation_reference = match circuit.reference.as_str() {
                    super::CENTRE_LINE => super::CENTRE_LINE,
                    _ => "a reference path",
                };
                all.push(row);
            }
        }
        all
    }

    fn of(driven: &[(u64, &Driven)]) -> Self {
        let finished: Vec<&Driven> = driven
            .iter()
            .map(|(_, it)| *it)
            .filter(|it| it.finished)
            .collect();
        let over = |figure: &dyn Fn(&Driven) -> Option<f64>| {
            Statistics::of(finished.iter().filter_map(|it| figure(it)))
        };
        let distinct = |text: &dyn Fn(&Driven) -> &str| {
            let mut all: Vec<String> = driven.iter().map(|(_, it)| text(it).to_owned()).collect();
            all.sort();
            all.dedup();
            all
        };
        Self {
            engine: String::new(),
            precision: String::new(),
            bytes: 0,
            circuit: String::new(),
            deviation_reference: super::CENTRE_LINE,
            seeds: driven.iter().map(|(seed, _)| *seed).collect(),
            finished: finished.len(),
            not_finished: (driven.iter().filter(|(_, it)| !it.finished))
                .map(|(seed, it)| {
                    let completed = it.percentage_completed;
                    format!(
                        "seed {seed}: {}, after {completed:.0} % of a lap",
                        it.outcome
                    )
                })
                .collect(),
            framework: distinct(&|it| it.backend.as_str()),
            processors: distinct(&|it| it.processor.as_str()),
            average_speed: over(&|it| Some(it.average_speed)),
            position_deviation_mae: over(&|it| it.position_deviation_mae),
            brain_iteration_frequency: over(&|it| it.brain_iteration_frequency),
            mean_inference_time: over(&|it| it.mean_inference_time),
            real_time_factor: over(&|it| it.real_time_factor),
            lap_time: over(&|it| it.lap_time),
            deviation_mean: over(&|it| Some(it.deviation_mean)),
            deviation_p95: over(&|it| Some(it.deviation_p95)),
            deviation_max: over(&|it| Some(it.deviation_max)),
            behavior_metrics_average_speed: over(&|it| it.behavior_metrics.average_speed),
            behavior_metrics_mean_inference_time: over(&|it| {
                it.behavior_metrics.mean_inference_time
            }),
            thinking_p50_us: over(&|it| Some(it.thinking_p50_us)),
            missed_share: over(&|it| {
                let all = it.frames + it.frames_missed;
                (all > 0).then(|| it.frames_missed as f64 / all as f64)
            }),
        }
    }

    /// The figures with a mean and a spread: column and value.
    fn figures(&self) -> [(&'static str, Option<Statistics>); 13] {
        [
            ("average_speed", self.average_speed),
            ("position_deviation_mae", self.position_deviation_mae),
            ("brain_iteration_frequency", self.brain_iteration_frequency),
            ("mean_inference_time", self.mean_inference_time),
            ("real_time_factor", self.real_time_factor),
            ("lap_time", self.lap_time),
            ("deviation_mean", self.deviation_mean),
            ("deviation_p95", self.deviation_p95),
            ("deviation_max", self.deviation_max),
            (
                "behavior_metrics_average_speed",
                self.behavior_metrics_average_speed,
            ),
            (
                "behavior_metrics_mean_inference_time",
                self.behavior_metrics_mean_inference_time,
            ),
            ("thinking_p50_us", self.thinking_p50_us),
            ("missed_share", self.missed_share),
        ]
    }
}

/// The conditions in words: names and values of the columns that each row ends with.
fn conditions(conditions: &Conditions) -> [(&'static str, String); 5] {
    let latency = match conditions.latency_ms {
        Some(ms) => format!("{ms} ms"),
        None => "measured".to_owned(),
    };
    let mut car = format!("{}, {}", conditions.car, conditions.camera);
    if let Some(friction) = conditions.friction {
        car.push_str(&format!(", friction {friction}"));
    }
    if let Some([offset, heading]) = conditions.start {
        car.push_str(&format!(
            ", starts {offset} m off, turned {heading} degrees"
        ));
    }
    for (what, width) in [
        ("road", conditions.road_width),
        ("line", conditions.line_width),
    ] {
        if let Some(width) = width {
            car.push_str(&format!(", {what} {width} m wide"));
        }
    }
    if conditions.laps > 1 {
        car.push_str(&format!(", {} laps", conditions.laps));
    }
    [
        ("Latency", latency),
        ("Deadline", format!("{} ms", conditions.deadline_ms)),
        (
            "Frames lost",
            format!("{} %", (conditions.frames_lost * 1e4).round() / 1e2),
        ),
        (
            "Looks",
            (conditions.appearance_seed).map_or("usual".to_owned(), |seed| format!("seed {seed}")),
        ),
        ("Car", car),
    ]
}

/// The Markdown table: the reference's columns first, its own definitions beside ours, then the
/// conditions.
pub(super) fn markdown(plan: &Plan, rows: &[Summary]) -> String {
    let conditions = conditions(&plan.conditions);
    let mut columns = vec![
        "Method",
        "Circuit",
        "Average speed (m/s)",
        "Position deviation MAE",
        "Brain iteration frequency (Hz)",
        "Mean inference time (s)",
        "Real time factor",
        "Framework",
        "Finished",
        "Lap time (s)",
        "Distance from the line, mean (m)",
        "largest (m)",
        "Frame to command, median (us)",
        "Frames missed",
        "Average speed, whole seconds (m/s)",
        "Mean inference time, without 10 at each end (s)",
        "MAE against",
        "Seeds",
    ];
    columns.extend(conditions.iter().map(|(name, _)| *name));
    let mut table = Table::new(columns);
    for row in rows {
        let text = |figure: Option<Statistics>, digits| {
            figure.map_or_else(String::new, |it| it.text(digits))
        };
        let mut cells = vec![
            row.engine.clone(),
            row.circuit.clone(),
            text(row.average_speed, 3),
            text(row.position_deviation_mae, 3),
            text(row.brain_iteration_frequency, 0),
            text(row.mean_inference_time, 6),
            text(row.real_time_factor, 2),
            row.framework.join("; "),
            format!("{} of {}", row.finished, row.seeds.len()),
            text(row.lap_time, 2),
            text(row.deviation_mean, 3),
            number(row.deviation_max.map(|it| it.largest), 3),
            text(row.thinking_p50_us, 0),
            (row.missed_share).map_or_else(String::new, |it| format!("{:.1} %", 1e2 * it.mean)),
            text(row.behavior_metrics_average_speed, 3),
            text(row.behavior_metrics_mean_inference_time, 6),
            row.deviation_reference.to_owned(),
            seeds(&row.seeds),
        ];
        cells.extend(conditions.iter().map(|(_, value)| value.clone()));
        table.rows.push(cells);
    }
    let mut text = table.markdown();
    for row in rows {
        for ending in &row.not_finished {
            text.push_str(&format!("\n- {} on {}, {ending}.", row.engine, row.circuit));
        }
    }
    let mut processors: Vec<&String> = rows.iter().flat_map(|row| &row.processors).collect();
    processors.sort();
    processors.dedup();
    let processors: Vec<String> = processors.into_iter().cloned().collect();
    text.push_str(&format!(
        "\nSimulated drives of Pilotage {} on {}; mean ± sample standard deviation over the seeds of the \
         drives that were finished. docs/evaluate.md defines the columns.\n",
        plan.conditions.version,
        processors.join("; ")
    ));
    text
}

/// Seeds as they are written on the command line.
fn seeds(seeds: &[u64]) -> String {
    let runs = seeds.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let runs = runs.filter_map(|run| match run {
        [] => None,
        [one] => Some(one.to_string()),
        [first, .., last] => Some(format!("{first}-{last}")),
    });
    runs.collect::<Vec<_>>().join(", ")
}

/// A row for each engine and circuit, with numbers as they are.
pub(super) fn summary_csv(plan: &Plan, rows: &[Summary]) -> String {
    let mut table = Table::new([
        "engine",
        "precision",
        "bytes",
        "circuit",
        "seeds",
        "finished",
    ]);
    let figures = rows.first().map(Summary::figures);
    for (name, _) in figures.iter().flatten() {
        table.columns.push((*name).to_owned());
        table.columns.push(format!("{name}_deviation"));
    }
    table.columns.push("deviation_reference".to_owned());
    let conditions = conditions(&plan.conditions);
    let names = conditions.iter().map(|(name, _)| name.to_lowercase());
    table
        .columns
        .extend(names.map(|name| name.replace(' ', "_")));
    for row in rows {
        let mut cells = vec![
            row.engine.clone(),
            row.precision.clone(),
            row.bytes.to_string(),
            row.circuit.clone(),
            seeds(&row.seeds),
            row.finished.to_string(),
        ];
        for (_, figure) in row.figures() {
            cells.push(value(figure.map(|it| it.mean)));
            cells.push(value(figure.and_then(|it| it.deviation)));
        }
        cells.push(row.deviation_reference.to_owned());
        cells.extend(conditions.iter().map(|(_, value)| value.clone()));
        table.rows.push(cells);
    }
    table.csv()
}

/// A row for each drive.
pub(super) fn runs_csv(results: &Results) -> anyhow::Result<String> {
    let mut table = Table::default();
    for (job, driven) in results {
        let mut fields = vec![
            ("engine".to_owned(), job.engine.clone()),
            ("circuit".to_owned(), job.circuit.clone()),
            ("seed".to_owned(), job.seed.to_string()),
        ];
        flatten("", &serde_json::to_value(driven)?, &mut fields);
        if table.columns.is_empty() {
            table.columns = fields.iter().map(|(name, _)| name.clone()).collect();
        }
        let cells = fields.into_iter().map(|(_, value)| value).collect();
        table.rows.push(cells);
    }
    Ok(table.csv())
}

/// The fields of a JSON object, those of inner objects with their path.
fn flatten(prefix: &str, value: &serde_json::Value, to: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let name = match prefix {
                    "" => name.clone(),
                    prefix => format!("{prefix}.{name}"),
                };
                flatten(&name, value, to);
            }
        }
        serde_json::Value::Null => to.push((prefix.to_owned(), String::new())),
        serde_json::Value::String(text) => to.push((prefix.to_owned(), text.clone())),
        other => to.push((prefix.to_owned(), other.to_string())),
    }
}
