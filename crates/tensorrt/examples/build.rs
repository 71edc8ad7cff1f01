//! Builds a plan of an ONNX model for this machine's GPU:
//!
//!     cargo run -p tensorrt-rs --example build -- model.onnx model.plan
//!
//! It compiles the shim first if there is none: a C++ compiler and TensorRT's headers are needed.

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::path::{Path, PathBuf};

use tensorrt_rs::{
    BuildOptions, Product, Shims, TensorRt, TensorRtError, Typing, Warnings, compile_shim,
    find_headers, store,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(model), Some(plan)) = (arguments.next(), arguments.next()) else {
        return Err("usage: build MODEL.onnx OUT.plan".into());
    };
    let tensorrt = open(Path::new("shims"))?;
    // The precision of each layer is the model's, where TensorRT can take it from there.
    let options = BuildOptions {
        strongly_typed: tensorrt.typing() == Typing::Either,
        fp16: tensorrt.typing() == Typing::ByFlags,
        ..BuildOptions::default()
    };
    let built = tensorrt.build(&std::fs::read(&model)?, &options)?;
    store(&PathBuf::from(plan), &built.bytes)?;
    println!("{} bytes, by {}", built.bytes.len(), tensorrt.version());
    Ok(())
}

/// Opens TensorRT with the shim in `folder`, which is compiled if it is missing.
fn open(folder: &Path) -> Result<TensorRt, Box<dyn Error>> {
    let shims = Shims::In(folder.to_owned());
    match TensorRt::open(Product::TensorRt, None, &shims) {
        Err(TensorRtError::NoShim { version, .. }) => {
            for headers in find_headers(&[])? {
                if headers.shim_file()? == version.shim_file() {
                    compile_shim(&headers, folder, Warnings::Allowed)?;
                }
            }
            Ok(TensorRt::open(Product::TensorRt, None, &shims)?)
        }
        opened => Ok(opened?),
    }
}
