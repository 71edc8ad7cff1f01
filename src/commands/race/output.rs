//! The files that a race ends with: tables and pictures.

use std::fs;

use anyhow::Context;
use pilotage_config::write_atomically;
use pilotage_console::{print, say};
use serde::Serialize;

use super::driven::Driven;
use super::plan::{Conditions, Job, Plan, RacedCircuit};
use super::store::{Results, Store, read};
use super::table::{self, Summary};
use crate::plot::{self, Bar, BarPanel, Caption, DrivenPath, Track};
use crate::results::{Compared, Statistics};

/// The JSON.
#[derive(Serialize)]
struct Everything<'a> {
    conditions: &'a Conditions,
    engines: &'a [Compared],
    circuits: &'a [RacedCircuit],
    summary: &'a [Summary],
    runs: Vec<Run<'a>>,
    /// Drives of the plan that have no result.
    missing: &'a [Job],
}

#[derive(Serialize)]
struct Run<'a> {
    #[serde(flatten)]
    job: &'a Job,
    #[serde(flatten)]
    driven: &'a Driven,
}

/// Prints the table, and writes all files. Returns whether every drive of the plan has a result.
///
/// # Errors
/// Fails if a result cannot be read, or a file cannot be written.
pub(super) fn write_all(store: &Store, plan: &Plan) -> anyhow::Result<bool> {
    let results = store.results(plan)?;
    let missing: Vec<Job> = (plan.jobs.iter())
        .filter(|job| !results.contains_key(job))
        .cloned()
        .collect();
    let rows = Summary::all(plan, &results);
    let mut text = table::markdown(plan, &rows);
    if let Some(first) = missing.first() {
        text.push_str(&format!(
            "\n{} of {} drives have no result yet; the first is {first}.\n",
            missing.len(),
            plan.jobs.len()
        ));
    }
    let everything = Everything {
        conditions: &plan.conditions,
        engines: &plan.engines,
        circuits: &plan.circuits,
        summary: &rows,
        runs: results
            .iter()
            .map(|(job, driven)| Run { job, driven })
            .collect(),
        missing: &missing,
    };
    let json = serde_json::to_string_pretty(&everything)?;
    // First, whatever becomes of the files.
    print(text.trim_end());
    for (name, content) in [
        ("race.md", &text),
        ("race.csv", &table::summary_csv(plan, &rows)),
        ("race-runs.csv", &table::runs_csv(&results)?),
        ("race.json", &json),
    ] {
        write_atomically(&store.file(name), content.as_bytes())?;
    }
    if !rows.is_empty() {
        draw_bars(store, &rows)?;
    }
    for circuit in &plan.circuits {
        draw_paths(store, plan, circuit, &results)?;
    }
    say(format_args!(
        "tables and pictures are in {}",
        store.file("").display()
    ));
    Ok(missing.is_empty())
}

fn draw_bars(store: &Store, rows: &[Summary]) -> anyhow::Result<()> {
    let names: Vec<String> = rows
        .iter()
        .map(|row| format!("{}, {}", row.engine, row.circuit))
        .collect();
    type Figure = fn(&Summary) -> Option<Statistics>;
    let figures: [(&str, usize, f64, Figure); 4] = [
        ("speed, m/s", 2, 1.0, |it| it.average_speed),
        ("deviation MAE", 3, 1.0, |it| it.position_deviation_mae),
        ("largest deviation, m", 3, 1.0, |it| it.deviation_max),
        ("inference, us", 0, 1e6, |it| it.mean_inference_time),
    ];
    let panels = figures.map(|(title, digits, factor, figure)| BarPanel {
        title: title.to_owned(),
        digits,
        bars: rows
            .iter()
            .map(|row| {
                figure(row).map(|it| Bar {
                    value: factor * it.mean,
                    spread: it.deviation.map(|deviation| factor * deviation),
                })
            })
            .collect(),
    });
    plot::bars_picture(
        &store.file("race-bars.png"),
        "Finished drives: mean, and the standard deviation over seeds",
        &names,
        &panels,
    )?;
    Ok(())
}

/// The file of a circuit's line and width.
pub(super) fn track_file(store: &Store, circuit: &str) -> std::path::PathBuf {
    store.file("circuits").join(format!("{circuit}.json"))
}

/// Draws the first seed of each engine. Without the circuit's line, which the results do not need,
/// there is no picture.
fn draw_paths(
    store: &Store,
    plan: &Plan,
    circuit: &RacedCircuit,
    results: &Results,
) -> anyhow::Result<()> {
    let file = track_file(store, &circuit.name);
    let Some(text) = read(&file)? else {
        say(format_args!(
            "{} does not exist: {} has no picture",
            file.display(),
            circuit.name
        ));
        return Ok(());
    };
    let track: Track = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a circuit's line", file.display()))?;
    let mut paths = Vec::new();
    for engine in &plan.engines {
        let of_row = |job: &Job| job.engine == engine.name && job.circuit == circuit.name;
        let Some((job, driven)) = results.iter().find(|(job, _)| of_row(job)) else {
            continue;
        };
        let lap = match driven.lap_time {
            Some(seconds) if driven.finished => format!("{seconds:.2} s"),
            _ => driven.outcome.clone(),
        };
        paths.push(DrivenPath {
            title: engine.name.clone(),
            note: format!(
                "{lap}; {:.2} m/s, {:.3} m from the line, seed {}",
                driven.average_speed, driven.deviation_mean, job.seed
            ),
            path: store.path(job)?,
            completed: driven.finished,
        });
    }
    if paths.is_empty() {
        return Ok(());
    }
    let conditions = &plan.conditions;
    let latency = conditions.latency_ms.map(|ms| format!("{ms} ms"));
    let figure = |name: &str, value: String| (name.to_owned(), value);
    let caption = Caption {
        title: format!("{}: the driven paths", circuit.name),
        figures: vec![
            figure("Car", conditions.car.clone()),
            figure("Latency", latency.unwrap_or("as measured".to_owned())),
            figure("Deadline", format!("{} ms", conditions.deadline_ms)),
            figure(
                "Frames lost",
                format!("{} %", (conditions.frames_lost * 1e4).round() / 1e2),
            ),
        ],
        completed: true,
    };
    let picture = store.file(&format!("race-paths-{}.png", circuit.name));
    plot::paths_picture(&picture, &caption, &track, &paths)?;
    Ok(())
}

/// Copies what pictures need of a circuit, if it is there.
pub(super) fn copy_track(from: &Store, to: &Store, circuit: &str) -> anyhow::Result<()> {
    let (file, copy) = (track_file(from, circuit), track_file(to, circuit));
    if copy.exists() {
        return Ok(());
    }
    let Some(text) = read(&file)? else {
        return Ok(());
    };
    let folder = to.file("circuits");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(write_atomically(&copy, text.as_bytes())?)
}
