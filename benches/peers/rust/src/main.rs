//! Times the engine rten or tract on one model:
//! `pilotage-peers rten|tract MODEL.onnx FRAMES float|int8 THREADS COUNT`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rten::{ModelOptions, RunOptions, ThreadPool, Value, ValueOrView};
use rten_tensor::{NdTensor, NdTensorView};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::tract_linalg::multithread::{Executor, set_default_executor};

#[path = "../../timing.rs"]
mod timing;

const SHAPE: [usize; 4] = [1, 3, 66, 200];
const LENGTH: usize = 3 * 66 * 200;

/// All frames, one after the other, in the element type of the model's input.
enum Frames {
    Float(Vec<f32>),
    Int8(Vec<i8>),
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [peer, model, frames, kind, threads, count] = &arguments[..] else {
        bail!("usage: pilotage-peers rten|tract MODEL.onnx FRAMES float|int8 THREADS COUNT");
    };
    let bytes = std::fs::read(frames).with_context(|| frames.clone())?;
    let frames = match kind.as_str() {
        "float" => {
            let (values, _) = bytes.as_chunks();
            Frames::Float(values.iter().copied().map(f32::from_le_bytes).collect())
        }
        "int8" => Frames::Int8(bytes.into_iter().map(u8::cast_signed).collect()),
        other => bail!("frames are float or int8, not `{other}`"),
    };
    let (threads, count) = (threads.parse()?, count.parse()?);
    let line = match peer.as_str() {
        "rten" => with_rten(Path::new(model), &frames, threads, count)?,
        "tract" => with_tract(Path::new(model), &frames, threads, count)?,
        other => bail!("unknown engine `{other}`; use rten or tract"),
    };
    println!("{line}");
    Ok(())
}

fn with_rten(model: &Path, frames: &Frames, threads: usize, count: usize) -> Result<String> {
    let model = ModelOptions::with_all_ops()
        .prepack_weights(true)
        .load_file(model)?;
    let pool = Arc::new(ThreadPool::with_num_threads(threads));
    let options = RunOptions::default().with_thread_pool(Some(pool));
    // Views avoid a copy of each frame.
    let views: Vec<ValueOrView<'_>> = match frames {
        Frames::Float(values) => views(values),
        Frames::Int8(quantized) => views(quantized),
    };
    timing::measured("rten", &outputs(), views.len(), count, |frame, all| {
        let answer: Value = model.run_one(views[frame].clone(), Some(options.clone()))?;
        let answer: NdTensor<f32, 2> = answer.try_into()?;
        all.clear();
        all.extend([answer[[0, 0]], answer[[0, 1]]]);
        Ok::<_, anyhow::Error>(())
    })
}

/// The shipped network's only output.
fn outputs() -> [(String, usize); 1] {
    [("controls".to_owned(), 2)]
}

fn views<'a, T>(frames: &'a [T]) -> Vec<ValueOrView<'a>>
where
    NdTensorView<'a, T, 4>: Into<ValueOrView<'a>>,
{
    let frames = frames.chunks_exact(LENGTH);
    frames
        .map(|frame| NdTensorView::from_data(SHAPE, frame).into())
        .collect()
}

fn with_tract(model: &Path, frames: &Frames, threads: usize, count: usize) -> Result<String> {
    if threads > 1 {
        set_default_executor(Executor::multithread(threads));
    }
    let model = tract_onnx::onnx()
        .model_for_path(model)?
        .into_optimized()?
        .into_runnable()?;
    let tensors: Vec<TValue> = match frames {
        Frames::Float(values) => tensors(values)?,
        Frames::Int8(quantized) => tensors(quantized)?,
    };
    // The state reuses its memory in every run.
    let mut state = model.spawn()?;
    timing::measured("tract", &outputs(), tensors.len(), count, |frame, all| {
        let answer = state.run(tvec!(tensors[frame].clone()))?;
        let answer = answer.first().context("no output")?;
        let answer = answer.to_plain_array_view::<f32>()?;
        all.clear();
        all.extend([answer[[0, 0]], answer[[0, 1]]]);
        Ok::<_, anyhow::Error>(())
    })
}

fn tensors<T: Datum + Copy>(frames: &[T]) -> Result<Vec<TValue>> {
    let frames = frames.chunks_exact(LENGTH);
    frames
        .map(|frame| Ok(Tensor::from_shape(&SHAPE, frame)?.into_tvalue()))
        .collect()
}
