//! The table of plans that NVIDIA's library builds. They run on a GPU only; their size and the types of
//! their layers are known without one.

use std::fmt::Write as _;

use serde_json::Value;

use super::markdown::{line, number, table_head};
use super::offline::MEBIBYTE;

/// The rows whose engine files have a model for TensorRT that differs from the others.
pub const PLANNED: [&str; 5] = ["float16", "int8", "qat", "prune-2-4", "structured-qat"];

const COLUMNS: [&str; 4] = [
    "Model",
    "Plan (MB)",
    "Layers that multiply, by type",
    "Library",
];

/// The section with the table. `plans` has a line of JSON for each plan, as the example `plan_sizes`
/// prints it; none if NVIDIA's library is not installed.
pub fn section(plans: &[Value]) -> String {
    let mut text = "\n## Plans of TensorRT\n\n".to_owned();
    if plans.is_empty() {
        text.push_str(
            "Not built: NVIDIA's library is missing, or cannot build them; `cargo xtask test --install` puts it there.\n",
        );
        return text;
    }
    text.push_str(
        "Built by NVIDIA's TensorRT-RTX for GPUs of compute capability 8.6, without a GPU: size, and the \
         elements that the layers multiply by the builder's own report. None of them has run. RTX \
         generates the code of small layers in float, which it does not report.\n\n",
    );
    text.push_str(&table_head(&COLUMNS));
    for plan in plans {
        let bytes = plan["bytes"].as_f64().map(|bytes| bytes / MEBIBYTE);
        let file = plan["file"].as_str().unwrap_or_default();
        let name = file.rsplit('/').next().unwrap_or_default();
        text.push_str(&line(&[
            format!("`{name}`"),
            number(bytes, 2),
            layers(&plan["layers"]),
            plan["version"].as_str().unwrap_or_default().to_owned(),
        ]));
    }
    text
}

/// For example "6 Float, 4 Half".
fn layers(counts: &Value) -> String {
    let mut text = String::new();
    for (kind, count) in counts.as_object().into_iter().flatten() {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{count} {kind}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_has_a_line_and_none_a_reason() {
        let plan = json!({
            "file": "target/tables/int8.engine", "version": "TensorRT-RTX 1.7.1", "bytes": 3 << 20,
            "layers": { "Half": 1, "Int8": 9 },
        });
        let text = section(&[plan]);
        let expected = "| `int8.engine` | 3.00 | 1 Half, 9 Int8 | TensorRT-RTX 1.7.1 |\n";
        assert!(text.ends_with(expected), "{text}");
        assert!(section(&[]).contains("cargo xtask test --install"));
    }
}
