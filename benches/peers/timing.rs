//! Times an engine for the Rust programs here, and formats the result.

use std::time::Instant;

/// Computes the answers to all frames, warms up, and times `count` inferences one by one. Returns
/// one line of JSON in the format of runners.py, where `outputs` has the answers' names and sizes.
/// `infer` runs the engine on the frame with the given index.
///
/// # Errors
/// When `infer` fails.
pub fn measured<E>(
    engine: &str,
    outputs: &[(String, usize)],
    frames: usize,
    count: usize,
    mut infer: impl FnMut(usize, &mut Vec<f32>) -> Result<(), E>,
) -> Result<String, E> {
    let mut answer = Vec::new();
    let mut answers = Vec::with_capacity(frames);
    for frame in 0..frames {
        infer(frame, &mut answer)?;
        answers.push(answer.clone());
    }
    for index in 0..count / 10 {
        infer(index % frames, &mut answer)?;
    }
    let mut micros = Vec::with_capacity(count);
    for index in 0..count {
        let start = Instant::now();
        infer(index % frames, &mut answer)?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    let quantile = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize];
    let outputs: Vec<_> = outputs
        .iter()
        .map(|(name, size)| format!("[{name:?}, {size}]"))
        .collect();
    let outputs = outputs.join(", ");
    // The Debug format of an array of finite floats is valid JSON.
    Ok(format!(
        r#"{{"engine": "{engine}", "median_us": {:.2}, "p90_us": {:.2}, "p99_us": {:.2}, "#,
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
    ) + &format!(r#""outputs": [{outputs}], "answers": {answers:?}}}"#))
}
