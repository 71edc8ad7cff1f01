//! How the Rust programs here time an engine, and how they say what they found.

use std::time::Instant;

/// Asks for the answers to all frames, warms up, and times `count` inferences one by
/// one. The result is one line of JSON, the same that runners.py prints.
///
/// # Errors
/// As `infer`, which runs the engine on the frame of that index.
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
    // An array of floats prints as JSON wants it, as long as they are finite.
    Ok(format!(
        r#"{{"engine": "{engine}", "median_us": {:.2}, "p90_us": {:.2}, "p99_us": {:.2}, "#,
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
    ) + &format!(r#""answers": {answers:?}}}"#))
}
