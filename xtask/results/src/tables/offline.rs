//! The offline table: size, error and time of each engine, and the reference's beside.

use serde_json::Value;

use super::markdown::{line, number, significant, table_head};
use super::reference::{OFFLINE, Offline};
use super::results::{Results, pairs};
use super::rows::{BASELINE, Row};

/// Bytes of the reference's "MB", which are mebibytes.
pub const MEBIBYTE: f64 = 1_048_576.0;
/// A 99th percentile above this many medians of a loop that only counts says that the machine keeps
/// programs waiting; as in `pilotage bench`.
const QUIET: f64 = 1.3;

const COLUMNS: [&str; 14] = [
    "Method",
    "Strategy",
    "Model size (MB)",
    "MSE",
    "Inference time (s), median",
    "p99 (s)",
    "Weights (MB)",
    "Time / float32",
    "Weights / float32",
    "Framework",
    "Reference: framework",
    "Reference: size (MB)",
    "Reference: MSE",
    "Reference: time (s)",
];

/// The cells of an engine's own figures.
const OWN: usize = 8;

/// The section with the table.
pub fn section(results: &Results<'_>) -> String {
    let mut text = "\n## Offline\n\nOne thread, warm, on frames from the engine file. The error is \
        the mean squared error of the normalized controls on the frames to measure on. A strategy that \
        the reference has in several frameworks has a row for each, with the same figures of this \
        project. MB are mebibytes (2^20 bytes), as the reference's are; the reference's time is a \
        mean.\n\n"
        .to_owned();
    text.push_str(&table_head(&COLUMNS));
    for (row, reference) in pairs(results.engines, &OFFLINE, |it| it.row) {
        text.push_str(&line(&cells(results, row, reference)));
    }
    let rows = results.engines.iter().map(|it| it.row.name);
    let disturbed: Vec<String> = rows
        .filter(|name| evaluated(results, name).is_some_and(disturbed))
        .map(|name| format!("`{name}`"))
        .collect();
    if !disturbed.is_empty() {
        text.push_str(&format!(
            "\nOther programs used the processor while these were timed, so that their p99 is not \
             reliable: {}.\n",
            disturbed.join(", ")
        ));
    }
    text
}

fn cells(results: &Results<'_>, row: Option<&Row>, reference: Option<&Offline>) -> Vec<String> {
    let mut cells = results.names(row, reference.map(|it| it.method));
    let own = row.and_then(|row| figures(results, row));
    cells.extend(own.unwrap_or_else(|| results.without_figures(row, OWN)));
    cells.push(reference.map_or_else(String::new, |it| it.framework.to_owned()));
    let figure = |index: usize| significant(reference.map(|it| it.figures[index]));
    cells.extend([figure(0), figure(1), figure(2)]);
    cells
}

/// An engine's figures; none if it was not evaluated.
fn figures(results: &Results<'_>, row: &Row) -> Option<Vec<String>> {
    let engine = evaluated(results, row.name)?;
    let baseline = evaluated(results, BASELINE);
    let mebibytes = |key: &str| number(engine[key].as_f64().map(|bytes| bytes / MEBIBYTE), 3);
    let seconds = |key: &str| number(engine["inference"][key].as_f64().map(|us| us * 1e-6), 6);
    let ratio = |of: &dyn Fn(&Value) -> Option<f64>| {
        let ratio = of(engine)
            .zip(baseline.and_then(of))
            .map(|(own, base)| own / base);
        number(ratio, 2)
    };
    Some(vec![
        mebibytes("bytes"),
        significant(engine["mse"].as_f64()),
        seconds("p50_us"),
        seconds("p99_us"),
        mebibytes("weight_bytes"),
        ratio(&|it| it["inference"]["p50_us"].as_f64()),
        ratio(&|it| it["weight_bytes"].as_f64()),
        engine["backend"].as_str().unwrap_or_default().to_owned(),
    ])
}

fn evaluated<'a>(results: &'a Results<'_>, name: &str) -> Option<&'a Value> {
    let engines = results.offline["engines"].as_array()?;
    engines.iter().find(|it| it["name"] == name)
}

/// Whether other programs used the processor while an engine was timed, in the JSON of `pilotage
/// evaluate`.
pub fn is_disturbed(offline: &Value) -> bool {
    let engines = offline["engines"].as_array();
    engines.into_iter().flatten().any(disturbed)
}

/// The same for one engine: a loop that only counts was interrupted, too.
fn disturbed(engine: &Value) -> bool {
    let figure = |key: &str| engine["counting"][key].as_f64();
    let both = figure("p99_us").zip(figure("p50_us"));
    both.is_some_and(|(p99, p50)| p99 > QUIET * p50)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::results::tests::with_results;

    #[test]
    fn the_table_has_every_row_of_the_reference() {
        with_results(|results| {
            let text = section(results);
            let rows: Vec<&str> = text.lines().filter(|it| it.starts_with("| ")).collect();
            for row in &rows {
                assert_eq!(row.matches(" | ").count() + 1, COLUMNS.len(), "{row}");
            }
            // Of the four rows, three are in the reference: float32 three times, qat twice.
            assert_eq!(rows.len(), 1 + 3 + 1 + 2 + 1 + 3);
            for row in [
                "| Baseline | `float32` | 4.000 | 0.001235 | 0.000400 | 0.001200 | 2.000 | 1.00 | 1.00 | \
                 CPU, AVX-512, 1 thread | PyTorch | 6.119 | 0.07884 | 0.002178 |",
                "| Integer only Q | `int8-integer`, refused by its gate | 1.000 | 0.5000 | 0.000100 | \
                 0.000300 | 0.500 | 0.25 | 0.25 | CPU, AVX-512, 1 thread | TensorFlow Lite | 16.24 | \
                 28158 | 0.007908 |",
                "| Q aware training | `qat` | not optimised | - | - | - | - | - | - | - | PyTorch | 1.607 | \
                 0.07080 | 0.002793 |",
                "| Clustering (8), QAT | `cqat-8` | left out | - | - | - | - | - | - | - | - | - | - | - |",
                "| Precision int8 | - | not run: needs a GPU | - | - | - | - | - | - | - | TensorFlow, \
                 TensorRT | 260.0 | 0.04103 | 0.001180 |",
            ] {
                assert!(rows.contains(&row), "{row}\n{text}");
            }
            assert!(
                text.contains("is not reliable: `int8-integer`.\n"),
                "{text}"
            );
        });
    }

    #[test]
    fn with_all_rows_every_row_of_the_reference_appears_once() {
        use crate::tables::results::{Engine, Made};
        use crate::tables::rows::ROWS;
        let engine = |row| Engine {
            row,
            made: Made::LeftOut,
        };
        let engines: Vec<Engine> = ROWS.iter().map(engine).collect();
        let pairs = pairs(&engines, &OFFLINE, |it| it.row);
        for reference in &OFFLINE {
            let is_it = |it: &Offline| std::ptr::eq(it, reference);
            let count = pairs.iter().filter(|(_, it)| it.is_some_and(is_it)).count();
            assert_eq!(count, 1, "{reference:?}");
        }
        for row in &ROWS {
            assert!(pairs.iter().any(|(it, _)| *it == Some(row)), "{row:?}");
        }
    }
}
