//! Runs an engine, on one thread, on the first validation frames of its file, and then a number of
//! times on the last of them: `cargo xtask arm-table` counts the instructions of such runs.
//!
//!     repeat FILE.engine INFERENCES [FRAMES]
//!
//! Prints one line of JSON: the instruction set, and the answers. Writes the inputs, one after the
//! other, to the file FRAMES.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;

use pilotage_engine::{
    Buffer, Bundle, CpuEngine, CpuOptions, Engine, InstructionSet, TensorMut, ValidationSet,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (file, inferences, written) = match arguments.as_slice() {
        [file, inferences] => (file, inferences, None),
        [file, inferences, written] => (file, inferences, Some(written)),
        _ => return Err("repeat FILE.engine INFERENCES [FRAMES]".into()),
    };
    let bundle = Bundle::read(&std::fs::read(file)?)?;
    let mut engine = CpuEngine::new(
        &bundle.plan,
        CpuOptions {
            threads: 1,
            ..CpuOptions::default()
        },
    )?;
    engine.prepare()?;
    let frames = frames(&bundle, &engine)?;
    if let Some(file) = written {
        std::fs::write(file, frames.iter().flat_map(bytes).collect::<Vec<u8>>())?;
    }
    let answers = run(&mut engine, &frames, inferences.parse()?)?;
    let set = InstructionSet::best().name();
    // The Debug format of an array of finite numbers is valid JSON.
    println!(r#"{{"uses": "{set}", "answers": {answers:?}}}"#);
    Ok(())
}

/// The number of frames.
const FRAMES: usize = 4;

fn frames(bundle: &Bundle, engine: &CpuEngine) -> Result<Vec<Buffer>, Box<dyn Error>> {
    let validation = ValidationSet::of(bundle)?;
    let [port] = engine.inputs() else {
        return Err("the engine must have one input".into());
    };
    let mut frames = Vec::new();
    for frame in validation.frames().iter().take(FRAMES) {
        let mut input = [Buffer::zeros(port)];
        validation.fill(frame, 0, &mut input)?;
        frames.extend(input);
    }
    Ok(frames)
}

fn bytes(frame: &Buffer) -> Vec<u8> {
    match frame {
        Buffer::F32(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Buffer::I64(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Buffer::I32(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Buffer::U8(values) => values.clone(),
        Buffer::I8(values) => values.iter().map(|x| x.cast_unsigned()).collect(),
    }
}

/// The answers to the frames.
fn run(
    engine: &mut CpuEngine,
    frames: &[Buffer],
    inferences: usize,
) -> Result<Vec<Vec<f64>>, Box<dyn Error>> {
    let mut outputs: Vec<Buffer> = engine.outputs().iter().map(Buffer::zeros).collect();
    let mut infer = |frame: &Buffer| {
        let mut views: Vec<TensorMut<'_>> = outputs.iter_mut().map(Buffer::as_mut).collect();
        engine.infer(&[frame.as_ref()], &mut views)?;
        Ok::<_, Box<dyn Error>>(outputs.iter().flat_map(Buffer::to_f64).collect())
    };
    let answers = frames.iter().map(&mut infer).collect::<Result<_, _>>()?;
    if let Some(last) = frames.last() {
        for _ in 0..inferences {
            infer(last)?;
        }
    }
    Ok(answers)
}
