//! The page docs/tables.md: the conditions, then the tables.

use std::fmt::Write as _;

use serde_json::Value;

use super::pipeline::{DRIVEN_SEED, EVERY, TEST_SEED, TRAIN_SEED};
use super::reference::SOURCE;
use super::results::{Made, Results};
use super::rows::{DISTILL_EPOCHS, EPOCHS, SMALLER_EPOCHS};
use super::{driving, offline, plans};

/// The text of the page.
pub fn text(results: &Results<'_>) -> String {
    let mut text = head(results);
    text.push_str(&conditions(results));
    text.push_str(&offline::section(results));
    text.push_str(&plans::section(results.plans));
    text.push_str(&driving::sections(results));
    text
}

fn head(results: &Results<'_>) -> String {
    format!(
        "# Tables of optimisation strategies\n\n\
         Written by `cargo xtask tables` ({}), which optimises the shipped network by {} of \
         `pilotage-training optimise`, compiles the results, measures them by `pilotage evaluate`, and \
         drives them by `pilotage race`. [strategies.md](strategies.md) says which strategy to choose, \
         [training.md](training.md#optimising) what each does, [evaluate.md](evaluate.md) defines the \
         columns.\n\n",
        results.origin,
        match results
            .engines
            .iter()
            .any(|it| matches!(it.made, Made::LeftOut))
        {
            true => "some strategies",
            false => "every strategy",
        }
    )
}

/// The conditions, which are the same for all tables.
fn conditions(results: &Results<'_>) -> String {
    let machine = &results.offline["machine"];
    let of = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let count = |value: &Value| value.as_u64().map_or("?".to_owned(), |it| it.to_string());
    let drive = &results.race["conditions"];
    let milliseconds =
        |value: &Value| (value.as_f64()).map_or("unknown".to_owned(), |it| format!("{it} ms"));
    let passes = match results.epochs {
        Some(1) => "one pass in each stage".to_owned(),
        Some(epochs) => format!("{epochs} passes in each stage"),
        None => format!(
            "{EPOCHS} passes in each stage, {SMALLER_EPOCHS} where channels are removed, {DISTILL_EPOCHS} for `distill`"
        ),
    };
    let mut text = String::new();
    let mut point = |line: String| {
        let _ = writeln!(text, "- {line}");
    };
    point(format!(
        "Machine: {}, {} cores, {}. Nothing here has run on a car, a Jetson or a GPU.",
        of(&machine["processor"]),
        count(&machine["cores"]),
        of(&machine["instruction_sets"][0])
    ));
    point(format!(
        "Data: drives on random circuits, one of {EVERY} frames, with the controls of the simulator's expert. {} \
         frames to optimise with, half of the expert's driving (`record --seed {TRAIN_SEED}`), half of the \
         shipped network's (`--seed {DRIVEN_SEED} --driver engines/pilotnet.onnx`); {passes}. {} frames to measure the error on (`--seed \
         {TEST_SEED}`), on other circuits, whose seeds training never draws.",
        results.frames,
        count(&results.offline["test"]["frames"])
    ));
    point(
        "The network, `engines/pilotnet.onnx`, was trained on random circuits too. None of the \
         shipped circuits, which the drives are on, was trained on."
            .to_owned(),
    );
    point(format!(
        "Drives: {} lap from camera frames alone, {}, {}; seeds {}; deadline of the guard {}; latency from \
         frame to command {}. A fixed latency makes a drive repeat bit for bit; what this machine takes from frame \
         to command is measured all the same, one drive at a time.",
        count(&drive["laps"]),
        of(&drive["car"]),
        of(&drive["camera"]),
        results.seeds,
        milliseconds(&drive["deadline_ms"]),
        milliseconds(&drive["latency_ms"])
    ));
    point(format!(
        "\"Reference\" is the [results summary]({SOURCE}) of Nikhil Paliwal's project for JdeRobot, 2022. \
         Its data, car, simulator and hardware (processors and GPUs of other kinds) differ: its figures \
         are for orientation only, and no column of this project can be compared with one of the \
         reference."
    ));
    point(
        "A strategy that is refused by its gate gives no engine in normal use: its error against its \
         own model is larger than the recipe allows. It was compiled with wider limits to be measured."
            .to_owned(),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::results::tests::with_results;

    #[test]
    fn the_page_has_its_conditions() {
        with_results(|results| {
            let text = text(results);
            for part in [
                "(2026-12-01, commit 0123abc)",
                "Machine: A|B, 2 cores, avx512.",
                "800 frames to optimise",
                "200 frames to measure",
                "deadline of the guard 175 ms",
                "latency from frame to command 10 ms",
                "None of the shipped circuits",
                "for orientation only",
            ] {
                assert!(text.contains(part), "{part}\n{text}");
            }
        });
    }
}
