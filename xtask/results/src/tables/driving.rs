//! The tables of driving: two circuits with the reference's columns, then the other circuits.

use std::fmt::Write as _;

use serde_json::Value;

use super::markdown::{line, number, table_head};
use super::reference::{Driven, MONTREAL, SIMPLE};
use super::results::{Engine, Results, pairs};
use super::rows::Row;

/// The circuits with a table of their own: the name, the reference's name, its rows.
const DETAILED: [(&str, &str, &[Driven]); 2] = [
    ("simple", "SimpleCircuit", &SIMPLE),
    ("grand", "Montreal", &MONTREAL),
];

const COLUMNS: [&str; 15] = [
    "Method",
    "Strategy",
    "Average speed (m/s)",
    "Position deviation MAE",
    "Brain iteration frequency (Hz)",
    "Mean inference time (s)",
    "Real time factor",
    "Distance from the line, mean (m)",
    "Frame to command, median (us)",
    "Finished",
    "Reference: speed (m/s)",
    "Reference: deviation MAE",
    "Reference: frequency (Hz)",
    "Reference: inference (s)",
    "Reference: real time factor",
];

/// A figure: its key in race.json, and digits after the point.
const FIGURES: [(&str, usize); 7] = [
    ("average_speed", 3),
    ("position_deviation_mae", 3),
    ("brain_iteration_frequency", 0),
    ("mean_inference_time", 6),
    ("real_time_factor", 2),
    ("deviation_mean", 3),
    ("thinking_p50_us", 0),
];

/// The sections with the tables.
pub fn sections(results: &Results<'_>) -> String {
    let mut text = String::new();
    for (circuit, other, references) in DETAILED {
        let _ = write!(
            text,
            "\n## Driving: {circuit}\n\nThe reference drove its circuit {other}. Averages are over the \
             finished drives. The deviation is against the centre line, and the reference's against a \
             recorded lap; the real time factor is that of a simulation as fast as it goes, and the \
             reference's that of Gazebo.\n\n{}",
            table_head(&COLUMNS)
        );
        for (row, reference) in pairs(results.engines, references, |it| it.row) {
            text.push_str(&line(&cells(results, circuit, row, reference)));
        }
        endings(&mut text, results, circuit);
    }
    text.push_str(&others(results));
    text
}

fn cells(
    results: &Results<'_>,
    circuit: &str,
    row: Option<&Row>,
    reference: Option<&Driven>,
) -> Vec<String> {
    let mut cells = results.names(row, reference.map(|it| it.method));
    let drove = row.and_then(|row| driven(results, row.name, circuit));
    match drove {
        Some(drove) => {
            let figure = |(key, digits): (&str, usize)| number(drove[key]["mean"].as_f64(), digits);
            cells.extend(FIGURES.map(figure));
            cells.push(finished(drove));
        }
        None => cells.extend(results.without_figures(row, FIGURES.len() + 1)),
    }
    // As many digits as the reference has.
    let figure = |index: usize| {
        let figure = reference.and_then(|it| it.figures[index]);
        figure.map_or_else(String::new, |it| it.to_string())
    };
    cells.extend([0, 1, 2, 3, 4].map(figure));
    cells
}

/// The result of an engine on a circuit.
fn driven<'a>(results: &'a Results<'_>, engine: &str, circuit: &str) -> Option<&'a Value> {
    let made = results.engines.iter().find(|it| it.row.name == engine)?;
    if !made.made.is_engine() {
        return None;
    }
    let all = results.race["summary"].as_array()?;
    let is_it = |it: &&Value| it["engine"] == engine && it["circuit"] == circuit;
    all.iter().find(is_it)
}

fn finished(drove: &Value) -> String {
    let of = drove["seeds"].as_array().map_or(0, Vec::len);
    format!("{} of {of}", drove["finished"].as_u64().unwrap_or(0))
}

/// How the drives ended that were not finished.
fn endings(text: &mut String, results: &Results<'_>, circuit: &str) {
    let mut first = true;
    for Engine { row, .. } in results.engines {
        let drove = driven(results, row.name, circuit);
        let endings = drove.and_then(|it| it["not_finished"].as_array());
        for ending in endings.into_iter().flatten().filter_map(Value::as_str) {
            if std::mem::take(&mut first) {
                text.push('\n');
            }
            let _ = writeln!(text, "- `{}`, {ending}.", row.name);
        }
    }
}

/// The other circuits: of each the finished drives, and their mean distance from the line.
fn others(results: &Results<'_>) -> String {
    let is_detailed = |name: &String| DETAILED.iter().any(|(detailed, ..)| name == detailed);
    let circuits = results.circuits.iter().filter(|it| !is_detailed(it));
    let circuits: Vec<&str> = circuits.map(String::as_str).collect();
    let mut columns = vec!["Strategy"];
    columns.extend(&circuits);
    let mut text =
        "\n## Driving: the other shipped circuits\n\nFinished drives, and the mean distance \
        from the line in metres over them.\n\n"
            .to_owned();
    text.push_str(&table_head(&columns));
    for Engine { row, .. } in results.engines {
        let cell = |circuit: &&str| {
            let Some(drove) = driven(results, row.name, circuit) else {
                return String::new();
            };
            let finished = finished(drove);
            match number(drove["deviation_mean"]["mean"].as_f64(), 3).as_str() {
                "" => finished,
                distance => format!("{finished}, {distance}"),
            }
        };
        let mut cells = vec![results.strategy(row)];
        cells.extend(circuits.iter().map(cell));
        text.push_str(&line(&cells));
    }
    for circuit in circuits {
        let mut list = String::new();
        endings(&mut list, results, circuit);
        if !list.is_empty() {
            let _ = write!(text, "\nNot finished on {circuit}:\n{list}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::results::tests::with_results;

    #[test]
    fn the_tables_have_every_row_of_the_reference() {
        with_results(|results| {
            let text = sections(results);
            let (simple, rest) = text.split_once("## Driving: grand").unwrap();
            let (grand, others) = rest.split_once("## Driving: the other").unwrap();
            for table in [simple, grand] {
                for row in table.lines().filter(|it| it.starts_with("| ")) {
                    assert_eq!(row.matches(" | ").count() + 1, COLUMNS.len(), "{row}");
                }
                assert_eq!(table.matches("not run: needs a GPU").count(), {
                    let plans = if table == simple {
                        &SIMPLE[..]
                    } else {
                        &MONTREAL[..]
                    };
                    plans.iter().filter(|it| it.row.is_none()).count()
                });
            }
            for row in [
                "| PilotNet (original) | `float32` | 14.250 | 1.070 | 2500 | 0.000400 | 21.50 | 0.012 | 450 | \
                 1 of 1 | 8.386 | 7.406 | 5.585 | 0.124 | 0.557 |",
                "| INT8 from input to outputs | `int8-integer`, refused by its gate | - | - | - | - | - | - | - \
                 | 0 of 1 | - | - | - | - | - |\n",
                "| QAT (PyTorch) | `qat` | not optimised | - | - | - | - | - | - | - | 7.94 | 11.47 | 26.45 | \
                 0.0188 | 0.45 |\n",
                "\n- `int8-integer`, seed 0: left the road.\n",
            ] {
                assert!(simple.contains(row), "{row}\n{simple}");
            }
            assert!(
                grand.contains("| 10.12 | 6.55 | 70.88 | 0.0062 | - |"),
                "{grand}"
            );
            assert!(others.contains("| Strategy | walled |"), "{others}");
            assert!(others.contains("| `float32` | 1 of 1, 0.012 |"), "{others}");
            assert!(others.contains("refused by its gate | - |"), "{others}");
        });
    }
}
