//! Runs a plan that `build` made, a thousand times on zeros, and prints the times:
//!
//!     cargo run --release -p tensorrt-rs --example run -- model.plan

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::time::Instant;

use tensorrt_rs::{Device, Owner, Product, RunOptions, Session, Shims, TensorRt, TrustedBytes};

fn main() -> Result<(), Box<dyn Error>> {
    let plan = std::env::args_os().nth(1).ok_or("usage: run MODEL.plan")?;
    let device = Device::first()?;
    let tensorrt = TensorRt::open(Product::TensorRt, None, &Shims::In("shims".into()))?;
    let plan = TrustedBytes::read(plan.as_ref(), Owner::RootOrUser, 1 << 30)?;
    let mut session = Session::new(&tensorrt, &device, &plan, RunOptions::default())?;
    println!("{device}; {}", session.describe());
    for tensor in session.inputs().iter().chain(session.outputs()) {
        println!("  {} {:?} {:?}", tensor.name, tensor.shape, tensor.element);
    }
    session.prepare()?;
    let mut times = Vec::new();
    for _ in 0..1000 {
        let start = Instant::now();
        session.infer(|_, bytes| bytes.fill(0), |_, _| {})?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    println!("median {:?}, 99 % {:?}", times[500], times[990]);
    Ok(())
}
