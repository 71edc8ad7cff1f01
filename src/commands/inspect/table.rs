//! An inspection as aligned text.

use std::fmt::Write;

use pilotage_engine::{
    AfterGap, AxisOrder, CommandEncoding, ElementNumbers, GateResult, Manifest, Meaning, Output,
    PathDecoder, PathForm, PathSpeed, PictureAxis, Port, Trial,
};

use super::{Entry, Inspection, SignatureState};

/// The longest cell, characters; longer text is cut.
const LONGEST_CELL: usize = 72;

/// The compiled-in engines.
pub(super) fn list(entries: &[Entry]) -> String {
    let rows = entries.iter().map(|entry| {
        let domain = entry.domain.name().to_owned();
        let size = entry.bytes.to_string();
        [entry.name.clone(), domain, entry.precision.clone(), size]
    });
    columns(["engine", "domain", "precision", "bytes>"], rows)
}

/// A complete inspection of an engine.
pub(super) fn whole(inspection: &Inspection) -> String {
    let parts = [
        summary(inspection),
        outputs(inspection),
        sections(inspection),
        gate(&inspection.manifest.gate),
        trials(&inspection.manifest.trials),
        layers(inspection),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}

fn summary(inspection: &Inspection) -> String {
    let manifest = &inspection.manifest;
    let mut rows = vec![
        ["engine".to_owned(), manifest.name.clone()],
        ["domain".to_owned(), manifest.domain.name().to_owned()],
        ["precision".to_owned(), manifest.precision.clone()],
    ];
    let mut row = |key: &str, value: String| rows.push([key.to_owned(), value]);
    for input in &inspection.inputs {
        row("input", port(input));
    }
    for output in &inspection.output_tensors {
        row("output", port(output));
    }
    for rule in memory(manifest) {
        row("memory", rule);
    }
    for (key, rule) in numbers(manifest) {
        row(key, rule);
    }
    if let Some(size) = manifest.frame_size {
        row("camera", format!("frames of {size}"));
    }
    if let Some(calibration) = &manifest.calibration {
        row(
            "calibration",
            format!(
                "{}, {} frames and {} held back",
                calibration.method, calibration.frames, calibration.held_back
            ),
        );
        row("frames", format!("SHA-256 {}", calibration.sha256));
    }
    if !manifest.raised.is_empty() {
        row("kept in float", manifest.raised.join(", "));
    }
    row("model", format!("SHA-256 {}", manifest.source_sha256));
    row("compiler", manifest.tool_version.clone());
    row("size", format!("{} bytes", inspection.bytes));
    row("signature", signature(&inspection.signature));
    let width = rows.iter().map(|[key, _]| key.len()).max().unwrap_or(0);
    let mut text = String::new();
    for [key, value] in rows {
        let _ = writeln!(text, "{key:width$}  {}", whole_cell(&value));
    }
    text.truncate(text.trim_end().len());
    text
}

/// The rules for inputs that are measured or commanded, one line each.
fn numbers(manifest: &Manifest) -> Vec<(&'static str, String)> {
    // A malformed rule is shown as that of the memory.
    let rules = manifest.input_rules().unwrap_or_default();
    let mut lines = Vec::new();
    for rule in &rules.measurements {
        let text = |numbers: &ElementNumbers| match numbers {
            ElementNumbers::All(number) => number.to_string(),
            ElementNumbers::Each(numbers) => format!("{numbers:?}"),
        };
        let names: Vec<_> = rule.values.iter().map(|value| value.name()).collect();
        let missing = match rule.missing.number() {
            Some(number) => format!("{number} in its place"),
            None => "the car stops".to_owned(),
        };
        let (names, input) = (names.join(", "), &rule.input);
        let (scale, offset) = (text(&rule.scale), text(&rule.offset));
        lines.push((
            "measurement",
            format!(
                "`{input}` is {scale} * ({names}) + {offset}; if it is missing or older than {} ms: {missing}",
                rule.max_age_ms
            ),
        ));
    }
    if let Some(rule) = &rules.command {
        let encoding = match rule.encoding {
            CommandEncoding::OneHot => "one-hot",
            CommandEncoding::Index => "its place",
        };
        let (input, names, default) = (&rule.input, rule.values.join(", "), &rule.default);
        lines.push((
            "command",
            format!("`{input}` is one of {names}, {encoding}; {default} at the start"),
        ));
    }
    if let Some(rule) = &rules.scan {
        let missing = match rule.missing.number() {
            Some(number) => format!("{number} m for each ray"),
            None => "the car stops".to_owned(),
        };
        lines.push((
            "scan",
            format!(
                "`{}` is {} * (distance, at most {} m) + {} for {} rays from {} to {} degrees; without an echo {} m; \
                 if it is missing or older than {} ms: {missing}",
                rule.input,
                rule.scale,
                rule.range,
                rule.offset,
                rule.rays,
                rule.start,
                rule.end,
                rule.no_echo.unwrap_or(rule.range),
                rule.max_age_ms
            ),
        ));
    }
    lines
}

/// The rules for the inputs besides the present picture, one line each.
fn memory(manifest: &Manifest) -> Vec<String> {
    let memory = match manifest.input_rules().map(|rules| rules.memory) {
        Ok(memory) if memory.is_none() => return Vec::new(),
        Ok(memory) => memory,
        Err(reason) => return vec![format!("malformed: {reason}")],
    };
    let after = match memory.after_gap {
        AfterGap::Hold => "held",
        AfterGap::Reset => "reset",
        AfterGap::Stop => "no longer valid: the car stops",
    };
    let mut rules = Vec::new();
    if memory.pictures > 1 {
        let axis = match memory.axis {
            PictureAxis::Channels => "the channels",
            PictureAxis::Time => "an axis of their own",
        };
        let count = memory.pictures;
        rules.push(format!("{count} pictures, the oldest first, along {axis}"));
    }
    rules.extend(memory.state.iter().map(|state| {
        let start = match &state.start {
            ElementNumbers::All(number) => number.to_string(),
            ElementNumbers::Each(numbers) => format!("{numbers:?}"),
        };
        format!("{} from {}, starts at {start}", state.input, state.output)
    }));
    rules.extend(memory.signal.iter().map(|signal| {
        let names: Vec<_> = signal.values.iter().map(|value| value.name()).collect();
        let (names, input) = (names.join(", "), &signal.input);
        let (scale, offset) = (signal.scale, signal.offset);
        format!("{input} from the latest {names}, * {scale} {offset:+}")
    }));
    rules.push(format!("after a missed frame {after}"));
    rules
}

fn signature(signature: &SignatureState) -> String {
    let comment = signature.comment.as_deref().unwrap_or_default();
    match signature.state {
        "compiled-in" => "none needed: it is compiled in".to_owned(),
        "absent" => "none".to_owned(),
        "unchecked" => {
            "there is one, not checked: give a car.toml with `engine.trusted_keys` by --car"
                .to_owned()
        }
        "good" => format!("good: {comment}"),
        _ => format!("REFUSED: {comment}"),
    }
}

fn outputs(inspection: &Inspection) -> String {
    let rows = inspection.manifest.outputs.iter().map(|output| {
        [
            meaning(output.meaning).to_owned(),
            format!("{} * {} {:+}", source(output), output.scale, output.offset),
            output.meaning.unit().to_owned(),
        ]
    });
    let constant = inspection.manifest.throttle.map(|throttle| {
        [
            meaning(Meaning::Throttle).to_owned(),
            format!("constant {throttle}"),
            Meaning::Throttle.unit().to_owned(),
        ]
    });
    let path = inspection.manifest.decoder.iter().flat_map(path);
    let rows = rows.chain(constant).chain(path);
    columns(["meaning", "from", "unit"], rows)
}

/// What a decoded path commands.
fn path(decoder: &PathDecoder) -> Vec<[String; 3]> {
    let (name, pursuit) = (&decoder.name, &decoder.pursuit);
    let from = match &decoder.path {
        PathForm::Waypoints { points } => format!("{} way-points of {name}", points.count),
        PathForm::Lane { points, .. } => format!("{} lane points of {name}", points.count),
        PathForm::Mask { mask, .. } => format!("mask {name} {}x{}", mask.width, mask.height),
    };
    let ahead = match pursuit.look_ahead_time {
        0.0 => format!("{} m ahead", pursuit.look_ahead),
        time => format!("{} m + {time} s ahead", pursuit.look_ahead),
    };
    let mut rows = vec![[
        "curvature".to_owned(),
        format!("{from}, {ahead}"),
        "1/m".to_owned(),
    ]];
    let speed = match &decoder.speed {
        // It is among the outputs.
        PathSpeed::Output(_) => return rows,
        PathSpeed::Fixed(speed) => format!("constant {speed}"),
        PathSpeed::Period(period) => format!("{name}, a point each {period} s"),
    };
    let row = [meaning(Meaning::Speed), &speed, Meaning::Speed.unit()];
    rows.push(row.map(str::to_owned));
    rows
}

/// The elements that an output is made of.
fn source(output: &Output) -> String {
    let (name, index) = (&output.name, output.index);
    match &output.bins {
        None => format!("{name}[{index}]"),
        Some(bins) => format!(
            "{} of {name}[{index}..{}], {} to {},",
            bins.decode.name(),
            index.saturating_add(bins.count),
            bins.first,
            bins.last
        ),
    }
}

fn sections(inspection: &Inspection) -> String {
    let rows = inspection.sections.iter().map(|section| {
        let size = section.bytes.to_string();
        [section.name.clone(), size, section.sha256.clone()]
    });
    columns(["section", "bytes>", "SHA-256"], rows)
}

/// The error of an engine's variants relative to fp32.
pub(in crate::commands) fn gate(results: &[GateResult]) -> String {
    let rows = results.iter().map(|result| {
        [
            result.form.clone(),
            result.output.clone(),
            format!("{:.3e}", result.mse),
            format!("{:.3e}", result.most_mse),
            format!("{:.4}", result.worst),
            format!("{:.4}", result.most_worst),
            result.unit.clone(),
            if result.passes() { "ok" } else { "TOO FAR" }.to_owned(),
        ]
    });
    columns(
        [
            "gate",
            "output",
            "squared error>",
            "limit>",
            "worst error>",
            "limit>",
            "unit",
            "verdict",
        ],
        rows,
    )
}

/// The trials to reduce the error.
pub(in crate::commands) fn trials(trials: &[Trial]) -> String {
    let rows = trials.iter().map(|trial| {
        [
            trial.name.clone(),
            format!("{:.3e}", trial.before),
            format!("{:.3e}", trial.after),
            if trial.kept { "kept" } else { "dropped" }.to_owned(),
        ]
    });
    columns(["tried", "error before>", "after>", "verdict"], rows)
}

fn layers(inspection: &Inspection) -> String {
    let rows = inspection.layers.iter().map(|layer| {
        let inputs: Vec<_> = layer.inputs.iter().map(|shape| sizes(shape)).collect();
        [
            layer.name.clone(),
            layer.operation.to_owned(),
            inputs.join(", "),
            sizes(&layer.output),
            layer.precision.to_owned(),
            layer.multiply_adds.to_string(),
            layer.weight_bytes.to_string(),
            layer.encoding.unwrap_or_default().to_owned(),
            layer.stored_bytes.to_string(),
        ]
    });
    let adds: u64 = inspection
        .layers
        .iter()
        .fold(0, |sum, layer| sum.saturating_add(layer.multiply_adds));
    let bytes: usize = inspection
        .layers
        .iter()
        .fold(0, |sum, layer| sum.saturating_add(layer.weight_bytes));
    let stored: usize = inspection
        .layers
        .iter()
        .fold(0, |sum, layer| sum.saturating_add(layer.stored_bytes));
    let blank = String::new;
    let total = [
        "total".to_owned(),
        blank(),
        blank(),
        blank(),
        blank(),
        adds.to_string(),
        bytes.to_string(),
        blank(),
        stored.to_string(),
    ];
    columns(
        [
            "layer",
            "operation",
            "input",
            "output",
            "precision",
            "multiply-adds>",
            "weight bytes>",
            "stored as",
            "in the file>",
        ],
        rows.chain([total]),
    )
}

fn port(port: &Port) -> String {
    let order = match port.layout {
        AxisOrder::Model => "",
        AxisOrder::Nhwc => ", batch x height x width x channels",
    };
    let element = format!("{:?}", port.element_type).to_lowercase();
    format!("{} {element} {}{order}", port.name, sizes(&port.shape))
}

pub(in crate::commands) fn sizes(shape: &[usize]) -> String {
    let sizes: Vec<_> = shape.iter().map(usize::to_string).collect();
    sizes.join("x")
}

fn meaning(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Speed => "speed",
        Meaning::YawRate => "yaw rate",
        Meaning::Steering => "steering",
        Meaning::Throttle => "throttle",
    }
}

/// Rows below their titles; empty if there are no rows. A title's `>` aligns its column to the
/// right.
pub(in crate::commands) fn columns<const N: usize>(
    titles: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows: Vec<_> = rows.into_iter().map(|row| row.map(|c| cell(&c))).collect();
    if rows.is_empty() {
        return String::new();
    }
    let right = titles.map(|title| title.ends_with('>'));
    let titles = titles.map(|title| title.trim_end_matches('>').to_owned());
    let mut text = String::new();
    let width = |column: usize| {
        let cells = rows.iter().chain([&titles]);
        cells.map(|row| row[column].chars().count()).max()
    };
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for row in [&titles].into_iter().chain(&rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = match right[column] {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:width$}  "),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.truncate(text.trim_end().len());
    text
}

/// Text from a file goes to a terminal: it must not contain control characters, nor be too long.
fn cell(text: &str) -> String {
    let text = whole_cell(text);
    match text.chars().count() > LONGEST_CELL {
        true => text
            .chars()
            .take(LONGEST_CELL - 3)
            .chain("...".chars())
            .collect(),
        false => text,
    }
}

fn whole_cell(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests;
