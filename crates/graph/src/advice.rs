//! The advice on operators that are not supported.

/// What to do about an operator that is not supported.
pub(crate) fn advice(operator: &str, domain: &str) -> &'static str {
    match (domain, operator) {
        ("com.microsoft", _) => {
            "it is ONNX Runtime's own: compile the model as it was before ONNX Runtime optimized it"
        }
        ("ai.onnx.ml", _) => "export the network without the steps after it",
        ("ai.onnx", _) if crate::SUPPORTED_OPERATORS.contains(&operator) => {
            "that opset does not have it: export again with a newer opset_version"
        }
        ("ai.onnx", "NonMaxSuppression" | "TopK" | "NonZero" | "Unique" | "Compress") => {
            "export the network without the steps after it"
        }
        (
            "ai.onnx",
            "Bernoulli" | "Multinomial" | "RandomNormal" | "RandomNormalLike" | "RandomUniform"
            | "RandomUniformLike",
        ) => "export in evaluation mode (model.eval()), without sampling",
        ("ai.onnx", "ConvInteger" | "MatMulInteger" | "DynamicQuantizeLinear") => {
            "export the float model, or a quantized one in QDQ format"
        }
        ("ai.onnx", name) if name.starts_with("Sequence") || name.starts_with("Optional") => {
            "export with tensors only, and with fixed sizes"
        }
        _ => "write this part with other operators (docs/operators.md lists them) and export again",
    }
}
