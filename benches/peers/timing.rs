//! Times an engine for the Rust programs here, and formats the result.

use std::time::Instant;

/// Computes the answers to all frames, warms up, and times `count` inferences one by one. Returns
/// one line of JSON in the format of runners.py. `infer` runs the engine on the frame with the
/// given index.
///
/// # Errors
/// When `infer` fails.
pub fn measured<E>(
    engine: &str,
    frames: usize,
    count: usize,
    mut infer: impl FnMut(usize) -> Result<[f32; 2], E>,
) -> Result<String, E> {
    let answers: Vec<_> = (0..frames).map(&mut infer).collect::<Result<_, _>>()?;
    for index in 0..count / 10 {
        infer(index % frames)?;
    }
    let mut micros = Vec::with_capacity(count);
    for index in 0..count {
        let start = Instant::now();
        infer(index % frames)?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    let quantile = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize];
    // The Debug format of an array of finite floats is valid JSON.
    Ok(format!(
        r#"{{"engine": "{engine}", "median_us": {:.2}, "p90_us": {:.2}, "p99_us": {:.2}, "#,
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
    ) + &format!(r#""answers": {answers:?}}}"#))
}
