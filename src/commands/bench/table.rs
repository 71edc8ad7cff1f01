//! A measurement as aligned text.

use super::bounds::{Limits, MeasuredLayer, Total};
use super::inputs::Source;
use super::passes::VisionTimes;
use super::{Given, Measurement};
use crate::commands::inspect::table::{columns, sizes};
use crate::times::Times;

/// All results.
pub(super) fn whole(measurement: &Measurement) -> String {
    [
        summary(measurement),
        layers(&measurement.layers, &measurement.total),
        times(
            &measurement.inference,
            &measurement.counting,
            measurement.vision.as_ref(),
        ),
        bounds(&measurement.inference, &measurement.total),
    ]
    .join("\n\n")
}

fn summary(measurement: &Measurement) -> String {
    let Measurement {
        machine,
        engine,
        limits,
        ..
    } = measurement;
    let cores = counted(machine.cores, "core");
    let mut rows = vec![
        ("machine", format!("{}, {cores}", machine.processor)),
        ("it has", machine.instruction_sets.join(", ")),
        (
            "engine",
            format!(
                "{}, {}, on the {}",
                engine.name, engine.precision, engine.description
            ),
        ),
        ("inputs", given(&measurement.inputs)),
    ];
    rows.extend(measured(limits).into_iter().map(|text| ("at most", text)));
    let lines: Vec<_> = rows
        .into_iter()
        .map(|(key, value)| format!("{key:<9}{}", printable(&value)))
        .collect();
    lines.join("\n")
}

fn given(inputs: &Given) -> String {
    match inputs.source {
        Source::Frames => format!("{} frames that travel in the engine", inputs.frames),
        Source::Noise => "noise: no frames travel in the engine".to_owned(),
    }
}

/// The machine's limits, one per line.
fn measured(limits: &Limits) -> Vec<String> {
    let arithmetic = limits.arithmetic.iter().map(|peak| {
        let threads = counted(peak.threads, "thread");
        match peak.multiply_adds_per_second {
            Some(rate) => format!(
                "{:.1} billion {} multiply-adds a second on {threads}",
                rate * 1e-9,
                peak.precision
            ),
            None => format!("not known for plain loops ({})", peak.precision),
        }
    });
    let reading = limits.reading.iter().map(|reading| {
        format!(
            "{:.1} GB/s when {:.2} MB of weights are read on {}",
            reading.bytes_per_second * 1e-9,
            reading.bytes as f64 * 1e-6,
            counted(reading.threads, "thread")
        )
    });
    arithmetic.chain(reading).collect()
}

fn layers(layers: &[MeasuredLayer], total: &Total) -> String {
    let rows = layers.iter().map(|measured| {
        let layer = &measured.layer;
        let bound = number(measured.bound_us.filter(|_| layer.multiply_adds > 0), 2);
        [
            layer.name.clone(),
            layer.operation.to_owned(),
            layer.precision.to_owned(),
            sizes(&layer.output),
            layer.multiply_adds.to_string(),
            layer.weight_bytes.to_string(),
            format!("{:.2}", measured.fastest_us),
            format!("{:.2}", measured.median_us),
            number(measured.gmacs, 1),
            percent(measured.of_peak),
            match measured.bound_by_reading {
                true => format!("read {bound}"),
                false => bound,
            },
            percent(measured.of_bound),
            percent(Some(measured.share)),
        ]
    });
    let blank = String::new;
    let sums = [
        "total".to_owned(),
        blank(),
        blank(),
        blank(),
        total.multiply_adds.to_string(),
        total.weight_bytes.to_string(),
        format!("{:.2}", total.fastest_us),
        format!("{:.2}", total.median_us),
        blank(),
        blank(),
        number(total.bound_us, 2),
        percent(total.bound_us.map(|bound| bound / total.fastest_us)),
        blank(),
    ];
    columns(
        [
            "layer",
            "operation",
            "precision",
            "output",
            "multiply-adds>",
            "weight bytes>",
            "fastest us>",
            "median us>",
            "GMAC/s>",
            "of peak>",
            "bound us>",
            "of bound>",
            "of time>",
        ],
        rows.chain([sums]),
    )
}

fn times(inference: &Times, counting: &Times, vision: Option<&VisionTimes>) -> String {
    let row = |name: String, times: &Times| {
        let figures = [
            times.fastest_us,
            times.p50_us,
            times.p90_us,
            times.p99_us,
            times.p999_us,
            times.max_us,
        ];
        let [a, b, c, d, e, f] = figures.map(|us| format!("{us:.1}"));
        [name, times.count.to_string(), a, b, c, d, e, f]
    };
    let vision = vision.map(|vision| {
        let [width, height] = vision.frame;
        let [columns, rows] = vision.input;
        let name = format!("vision, {width}x{height} to {columns}x{rows}");
        row(name, &vision.times)
    });
    columns(
        [
            "microseconds",
            "runs>",
            "fastest>",
            "median>",
            "90 %>",
            "99 %>",
            "99.9 %>",
            "longest>",
        ],
        [
            row("inference".to_owned(), inference),
            row("a loop that only counts".to_owned(), counting),
        ]
        .into_iter()
        .chain(vision),
    )
}

fn bounds(inference: &Times, total: &Total) -> String {
    match total.bound_us {
        Some(bound) => format!(
            "A layer's bound is its multiply-adds at the peak, or its weights read where that takes \
             longer (read);\nGMAC/s, peak and bound are held against the fastest run. The bounds \
             add up to {bound:.1} us:\n{} of the fastest inference, {} of the median.",
            percent(Some(bound / inference.fastest_us)),
            percent(Some(bound / inference.p50_us))
        ),
        None => "The layers have no bounds: plain loops have no peak.".to_owned(),
    }
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.digits$}"))
}

fn percent(share: Option<f64>) -> String {
    match share.filter(|share| share.is_finite()) {
        Some(share) => format!("{:.0} %", share * 100.0),
        None => String::new(),
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// An engine's name goes to a terminal: it must not contain control characters.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}
