//! The table of an evaluation.

use super::Report;
use super::alone::NOISE;
use super::errors::OutputError;
use crate::results::{MEBIBYTE, Table, number, value};

/// The Markdown table: the reference's columns first.
pub(super) fn markdown(report: &Report) -> String {
    let outputs = outputs(report);
    let mut columns: Vec<String> = [
        "Method",
        "Model size (MB)",
        "MSE",
        "Inference time (s)",
        "Framework",
        "Precision",
        "Weights (MB)",
        "Memory (MB)",
    ]
    .map(str::to_owned)
    .to_vec();
    for (output, unit) in &outputs {
        columns.push(format!("MSE of {output} (({unit})²)"));
    }
    columns.push("Worst error (normalized)".to_owned());
    for (output, unit) in &outputs {
        columns.push(format!("Worst {output} ({unit})"));
    }
    columns.extend(
        [
            "Inference, median (us)",
            "Inference, p99 (us)",
            "Pre-processing, median (us)",
            "Pre-processing, p99 (us)",
            "Energy (mJ)",
        ]
        .map(str::to_owned),
    );
    let mut table = Table {
        columns,
        rows: Vec::new(),
    };
    for row in &report.engines {
        let it = &row.evaluation;
        let mut cells = vec![
            row.engine.name.clone(),
            format!("{:.3}", row.engine.bytes as f64 / MEBIBYTE),
            significant(it.mse),
            format!("{:.6}", it.inference.mean_us * 1e-6),
            it.backend.clone(),
            row.engine.precision.clone(),
            format!("{:.3}", row.engine.weight_bytes as f64 / MEBIBYTE),
            number(it.resident_bytes.map(|bytes| bytes as f64 / MEBIBYTE), 2),
        ];
        let of = |output: &str| it.outputs.iter().find(|it| it.output == output);
        let mut each = |figure: &dyn Fn(&OutputError) -> f64| {
            for (output, _) in &outputs {
                cells.push(of(output).map_or_else(String::new, |it| significant(figure(it))));
            }
        };
        each(&|it| it.mse);
        let mut worst = vec![significant(it.worst)];
        for (output, _) in &outputs {
            worst.push(of(output).map_or_else(String::new, |it| significant(it.worst)));
        }
        cells.append(&mut worst);
        cells.extend([
            format!("{:.1}", it.inference.p50_us),
            format!("{:.1}", it.inference.p99_us),
            number(it.vision.map(|it| it.p50_us), 1),
            number(it.vision.map(|it| it.p99_us), 1),
            it.energy.text(),
        ]);
        table.rows.push(cells);
    }
    table.markdown() + &below(report)
}

/// The conditions, which are the same for all rows.
fn below(report: &Report) -> String {
    let mut spans: Vec<String> = Vec::new();
    for it in report
        .engines
        .iter()
        .flat_map(|row| &row.evaluation.outputs)
    {
        let span = format!("{} by {} ({})", it.output, it.span, it.unit);
        if !spans.contains(&span) {
            spans.push(span);
        }
    }
    let answered = report.engines.iter().map(|row| row.evaluation.frames);
    let answered = answered.min().unwrap_or(0);
    let disturbed = report.engines.iter();
    let disturbed = disturbed.filter(|row| row.evaluation.counting.disturbed());
    let mut text = format!(
        "\nTest set: {}, {answered} of {} frames, each once. Errors normalized: {}. Times: one thread, \
         warm, {}, Pilotage {}. docs/evaluate.md defines the columns.\n",
        report.test.folder,
        report.test.frames,
        spans.join(", "),
        report.machine.processor,
        report.version
    );
    let noise = report.engines.iter();
    let noise = noise.filter(|row| row.evaluation.source == NOISE);
    let noise: Vec<&str> = noise.map(|row| row.engine.name.as_str()).collect();
    if !noise.is_empty() {
        text.push_str(&format!(
            "\nTimed on noise, because there are no frames in the engine file: {}.\n",
            noise.join(", ")
        ));
    }
    let disturbed: Vec<&str> = disturbed.map(|row| row.engine.name.as_str()).collect();
    if !disturbed.is_empty() {
        text.push_str(&format!(
            "\nThe machine kept any program waiting while these were timed, so that their p99 says \
             little: {}.\n",
            disturbed.join(", ")
        ));
    }
    text
}

/// The outputs of any engine, with their units.
fn outputs(report: &Report) -> Vec<(String, String)> {
    let mut outputs = Vec::new();
    for it in report
        .engines
        .iter()
        .flat_map(|row| &row.evaluation.outputs)
    {
        let output = (it.output.clone(), it.unit.clone());
        if !outputs.contains(&output) {
            outputs.push(output);
        }
    }
    outputs
}

/// Four significant digits.
fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor();
    match magnitude {
        -5.0..=4.0 => format!("{value:.*}", (3.0 - magnitude).max(0.0) as usize),
        _ => format!("{value:.3e}"),
    }
}

/// Numbers as they are.
pub(super) fn csv(report: &Report) -> String {
    let outputs = outputs(report);
    let mut table = Table::new([
        "engine",
        "precision",
        "bytes",
        "weight_bytes",
        "sha256",
        "framework",
        "resident_bytes",
        "frames",
        "mse",
        "worst",
    ]);
    for (output, _) in &outputs {
        for figure in ["mse", "mae", "worst", "mse_normalised", "worst_normalised"] {
            table.columns.push(format!("{output}_{figure}"));
        }
    }
    table.columns.push("source".to_owned());
    for series in ["inference", "vision"] {
        for figure in ["mean_us", "fastest_us", "p50_us", "p99_us"] {
            table.columns.push(format!("{series}_{figure}"));
        }
    }
    table.columns.push("energy_mj".to_owned());
    for row in &report.engines {
        let it = &row.evaluation;
        let mut cells = vec![
            row.engine.name.clone(),
            row.engine.precision.clone(),
            row.engine.bytes.to_string(),
            row.engine.weight_bytes.to_string(),
            row.engine.sha256.clone(),
            it.backend.clone(),
            it.resident_bytes
                .map_or_else(String::new, |it| it.to_string()),
            it.frames.to_string(),
            value(Some(it.mse)),
            value(Some(it.worst)),
        ];
        for (output, _) in &outputs {
            let of = it.outputs.iter().find(|it| it.output == *output);
            cells.extend(
                [
                    of.map(|it| it.mse),
                    of.map(|it| it.mae),
                    of.map(|it| it.worst),
                    of.map(|it| it.mse_normalized),
                    of.map(|it| it.worst_normalized),
                ]
                .map(value),
            );
        }
        cells.push(it.source.clone());
        for times in [Some(it.inference), it.vision] {
            cells.extend(
                [
                    times.map(|it| it.mean_us),
                    times.map(|it| it.fastest_us),
                    times.map(|it| it.p50_us),
                    times.map(|it| it.p99_us),
                ]
                .map(value),
            );
        }
        cells.push(value(it.energy.millijoules()));
        table.rows.push(cells);
    }
    table.csv()
}
