//! What the tables are made from.

use serde_json::Value;

use super::rows::Row;

/// A row with what was made for it.
#[derive(Debug)]
pub struct Engine {
    pub row: &'static Row,
    pub made: Made,
}

/// What was made for a row. Files are named from the checkout's root.
#[derive(Debug)]
pub enum Made {
    /// An engine.
    Engine(String),
    /// An engine whose error is larger than its recipe allows.
    Refused(String),
    /// No engine: the step that failed.
    Failed(&'static str),
    /// Nothing: --strategy names others.
    LeftOut,
}

impl Made {
    /// The engine file.
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Engine(file) | Self::Refused(file) => Some(file),
            Self::Failed(_) | Self::LeftOut => None,
        }
    }

    pub fn is_engine(&self) -> bool {
        self.file().is_some()
    }

    /// Why there are no figures; what stands in their place.
    fn reason(&self) -> &'static str {
        match self {
            Self::Failed(step) => step,
            Self::LeftOut => "left out",
            Self::Engine(_) | Self::Refused(_) => "no result",
        }
    }
}

/// Everything that the page is made from.
#[derive(Debug)]
pub struct Results<'a> {
    pub engines: &'a [Engine],
    /// The JSON of `pilotage evaluate`.
    pub offline: &'a Value,
    /// The JSON of `pilotage race`.
    pub race: &'a Value,
    /// A line of the example `plan_sizes` for each plan.
    pub plans: &'a [Value],
    /// The circuits that were driven.
    pub circuits: &'a [String],
    /// Frames to optimise with.
    pub frames: u32,
    pub epochs: Option<u32>,
    /// The seeds of the drives.
    pub seeds: &'a str,
    /// The day and the commit.
    pub origin: String,
}

/// A strategy without an engine of this project, and why.
const NO_GPU: &str = "not run: needs a GPU";

impl Results<'_> {
    /// The first two cells of a row: the reference's name of the method, or this project's, and the
    /// strategy.
    pub fn names(&self, row: Option<&Row>, reference: Option<&str>) -> Vec<String> {
        let method = reference.or(row.map(|row| row.method)).unwrap_or_default();
        let strategy = row.map_or_else(String::new, |row| self.strategy(row));
        vec![method.to_owned(), strategy]
    }

    /// The cell that names a strategy.
    pub fn strategy(&self, row: &Row) -> String {
        let made = self.engines.iter().find(|it| it.row == row);
        match made.map(|it| &it.made) {
            Some(Made::Refused(_)) => format!("`{}`, refused by its gate", row.name),
            _ => format!("`{}`", row.name),
        }
    }

    /// The cells of a row without figures: the reason, then empty ones. Without a row, it is a plan of
    /// TensorRT.
    pub fn without_figures(&self, row: Option<&Row>, cells: usize) -> Vec<String> {
        let made = self.engines.iter().find(|it| Some(it.row) == row);
        let reason = made.map_or(NO_GPU, |it| it.made.reason());
        let mut all = vec![String::new(); cells];
        if let Some(first) = all.first_mut() {
            *first = reason.to_owned();
        }
        all
    }
}

/// The rows of the tables, each with the reference's rows of the same strategy: a pair for each of
/// those, or one without. Last are the reference's rows that have no row here.
pub fn pairs<'a, R>(
    engines: &'a [Engine],
    references: &'a [R],
    name: impl Fn(&R) -> Option<&'static str>,
) -> Vec<(Option<&'a Row>, Option<&'a R>)> {
    let mut pairs = Vec::new();
    for Engine { row, .. } in engines {
        let before = pairs.len();
        let same = references.iter().filter(|it| name(it) == Some(row.name));
        pairs.extend(same.map(|reference| (Some(*row), Some(reference))));
        if pairs.len() == before {
            pairs.push((Some(*row), None));
        }
    }
    let others = references.iter().filter(|it| name(it).is_none());
    pairs.extend(others.map(|reference| (None, Some(reference))));
    pairs
}

#[cfg(test)]
pub mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::tables::rows::named;

    /// Results of three rows: an engine, one that its gate refuses, and a failed one.
    pub fn with_results(check: impl FnOnce(&Results<'_>)) {
        let engine = |name: &str, made| Engine {
            row: named(name).unwrap(),
            made,
        };
        let engines = [
            engine("float32", Made::Engine("a/float32.engine".into())),
            engine(
                "int8-integer",
                Made::Refused("a/int8-integer.engine".into()),
            ),
            engine("qat", Made::Failed("not optimised")),
            engine("cqat-8", Made::LeftOut),
        ];
        let circuits = ["grand", "simple", "walled"].map(str::to_owned);
        check(&Results {
            engines: &engines,
            offline: &offline(),
            race: &race(),
            plans: &[],
            circuits: &circuits,
            frames: 800,
            epochs: None,
            seeds: "0",
            origin: "2026-12-01, commit 0123abc".to_owned(),
        });
    }

    fn offline() -> Value {
        let times = |p50: f64, p99: f64| json!({ "p50_us": p50, "p99_us": p99 });
        let engine = |name: &str, bytes: u64, mse: f64, p50: f64| {
            json!({
                "name": name, "bytes": bytes, "weight_bytes": bytes / 2, "mse": mse,
                "backend": "CPU, AVX-512, 1 thread", "inference": times(p50, 3.0 * p50),
                "counting": times(100.0, if name == "float32" { 110.0 } else { 190.0 }),
            })
        };
        json!({
            "machine": { "processor": "A|B", "cores": 2, "instruction_sets": ["avx512", "avx2"] },
            "test": { "frames": 200 },
            "engines": [
                engine("float32", 4 << 20, 0.00123456, 400.0),
                engine("int8-integer", 1 << 20, 0.5, 100.0),
            ],
        })
    }

    fn race() -> Value {
        let mean = |mean: f64| json!({ "count": 1, "mean": mean, "deviation": null });
        let drove = |engine: &str, circuit: &str, finished: u64| {
            let figure = |it: f64| if finished > 0 { mean(it) } else { Value::Null };
            let endings = if finished > 0 {
                json!([])
            } else {
                json!(["seed 0: left the road"])
            };
            json!({
                "engine": engine, "circuit": circuit, "seeds": [0], "finished": finished,
                "not_finished": endings, "average_speed": figure(14.25),
                "position_deviation_mae": figure(1.07), "brain_iteration_frequency": figure(2500.0),
                "mean_inference_time": figure(0.0004), "real_time_factor": figure(21.5),
                "deviation_mean": figure(0.0123), "thinking_p50_us": figure(450.0),
            })
        };
        json!({
            "conditions": {
                "laps": 1, "car": "unicycle", "camera": "640x480 at 20 Hz", "deadline_ms": 175.0,
                "latency_ms": 10.0,
            },
            "summary": [
                drove("float32", "simple", 1),
                drove("float32", "grand", 1),
                drove("float32", "walled", 1),
                drove("int8-integer", "simple", 0),
            ],
        })
    }
}
