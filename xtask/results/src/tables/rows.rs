//! The rows of the tables: the strategies of `pilotage-training optimise`, with their settings.

use anyhow::{Result, bail, ensure};

/// An engine to make and measure.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The engine's name.
    pub name: &'static str,
    /// The strategy of `pilotage-training optimise`.
    pub strategy: &'static str,
    /// Keys of `[optimise]` that differ from the defaults, as TOML.
    pub settings: &'static str,
    /// What it is, for a row that the reference does not have.
    pub method: &'static str,
    /// Passes of each stage.
    pub epochs: u32,
}

const fn row(name: &'static str, method: &'static str) -> Row {
    Row {
        name,
        strategy: name,
        settings: "",
        method,
        epochs: EPOCHS,
    }
}

const fn variant(
    name: &'static str,
    strategy: &'static str,
    settings: &'static str,
    method: &'static str,
) -> Row {
    Row {
        name,
        strategy,
        settings,
        method,
        epochs: EPOCHS,
    }
}

/// A strategy that makes a smaller network, which learns faster and needs more passes.
const fn smaller(
    name: &'static str,
    strategy: &'static str,
    settings: &'static str,
    method: &'static str,
    epochs: u32,
) -> Row {
    Row {
        epochs,
        ..variant(name, strategy, settings, method)
    }
}

/// Passes of each stage.
pub const EPOCHS: u32 = 4;
/// The same for networks with fewer channels.
pub const SMALLER_EPOCHS: u32 = 10;
/// The same for distillation.
pub const DISTILL_EPOCHS: u32 = 25;
/// The row that the others are compared with.
pub const BASELINE: &str = "float32";

/// Every strategy, and variants of some.
pub const ROWS: [Row; 23] = [
    row(BASELINE, "Float32"),
    row("float16", "Float16 weights"),
    row("int8-dynamic", "INT8, dynamic ranges"),
    row("int8", "INT8, calibrated ranges"),
    row("int8-mixed", "INT8, some layers in floating point"),
    row("int8-integer", "INT8 from input to outputs"),
    row("int4", "INT8, 4-bit weights in large layers"),
    row("qat", "Quantization-aware training"),
    row("prune", "Pruning"),
    row("prune-int8", "Pruning, INT8"),
    row("prune-local", "Pruning of each layer"),
    row("prune-global", "Pruning of all layers together"),
    row("prune-qat", "Pruning during QAT"),
    row("prune-2-4", "2 of 4 weights pruned, QAT"),
    row("cqat", "Clustering, QAT"),
    variant("cqat-8", "cqat", "clusters = 8", "Clustering (8), QAT"),
    row("pqat", "Pruning, QAT"),
    row("pcqat", "Pruning, clustering, QAT"),
    smaller(
        "structured",
        "structured",
        "share = 0.5",
        "Channels removed: 50 % of the multiply-adds left",
        SMALLER_EPOCHS,
    ),
    smaller(
        "structured-25",
        "structured",
        "share = 0.25",
        "Channels removed: 25 % of the multiply-adds left",
        SMALLER_EPOCHS,
    ),
    smaller(
        "structured-qat",
        "structured-qat",
        "share = 0.25",
        "Channels removed: 25 % left, QAT",
        SMALLER_EPOCHS,
    ),
    smaller(
        "structured-cqat",
        "structured-cqat",
        "share = 0.18",
        "Channels removed: 18 % left, clustering, QAT",
        SMALLER_EPOCHS,
    ),
    smaller(
        "distill",
        "distill",
        "",
        "Distilled to the network `small`",
        DISTILL_EPOCHS,
    ),
];

/// The names of all rows.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

/// Checks that each strategy in the help of `pilotage-training optimise` has a row.
///
/// # Errors
/// Names the strategies without a row, or says that the help has another form.
pub fn check_all_present(help: &str) -> Result<()> {
    let offered = strategies(help);
    ensure!(
        !offered.is_empty(),
        "`pilotage-training optimise --help` lists no strategies under --strategy; correct \
         `strategies` in xtask/results/src/tables/rows.rs"
    );
    let has_row = |strategy: &str| ROWS.iter().any(|row| row.strategy == strategy);
    let missing: Vec<&str> = offered.into_iter().filter(|it| !has_row(it)).collect();
    if !missing.is_empty() {
        bail!(
            "no row of the tables has the strategy {}; add it to ROWS in xtask/results/src/tables/rows.rs",
            missing.join(", ")
        );
    }
    Ok(())
}

/// The possible values of `--strategy` in clap's long help: lines such as `- qat: Quantization...`.
fn strategies(help: &str) -> Vec<&str> {
    let lines = help.lines().map(str::trim);
    let of_option = lines
        .skip_while(|line| !line.starts_with("--strategy"))
        .skip(1)
        .take_while(|line| !line.starts_with("--"));
    let value = |line: &'_ str| -> Option<usize> { line.strip_prefix("- ")?.find(':') };
    of_option
        .filter_map(|line| Some(&line[2..2 + value(line)?]))
        .collect()
}

/// The row with this name.
#[cfg(test)]
pub fn named(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::reference::{MONTREAL, OFFLINE, SIMPLE};

    const STRATEGIES: &str = include_str!("../../../../crates/training/src/optimise/strategy.rs");

    #[test]
    fn every_strategy_has_a_row() {
        let arms = STRATEGIES.lines().map(str::trim);
        let names = arms.filter_map(|arm| {
            let (variant, name) = arm.split_once(" => \"")?;
            variant.strip_prefix("Self::")?;
            name.strip_suffix("\",")
        });
        let names: Vec<&str> = names.collect();
        assert!(names.len() >= 17, "{names:?}");
        for name in names {
            assert!(ROWS.iter().any(|row| row.strategy == name), "{name}");
            assert!(named(name).is_some(), "{name}");
        }
    }

    #[test]
    fn names_are_unique_and_the_reference_names_rows() {
        for name in names() {
            assert_eq!(names().filter(|it| *it == name).count(), 1, "{name}");
        }
        let offline = OFFLINE.iter().filter_map(|it| it.row);
        let driven = SIMPLE.iter().chain(&MONTREAL).filter_map(|it| it.row);
        for name in offline.chain(driven) {
            assert!(named(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_strategy_without_a_row_is_reported() {
        let help = "Usage: optimise\n\n      --model <NAME.onnx>\n          - not: this\n\n      \
                    --strategy <STRATEGY>...\n          The strategy\n\n          Possible values:\n          \
                    - float32: Float32\n          - qat:     Training\n\n      --out <NAME>\n          - nor: this\n";
        assert_eq!(strategies(help), ["float32", "qat"]);
        check_all_present(help).unwrap();
        let error = check_all_present(&help.replace("qat:", "binary:")).unwrap_err();
        assert!(
            error.to_string().contains("the strategy binary;"),
            "{error}"
        );
        assert!(check_all_present("Usage: optimise\n").is_err());
    }
}
