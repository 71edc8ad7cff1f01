//! Compiles the shim for each TensorRT whose headers are found, with warnings denied:
//!
//!     cargo run -p tensorrt-rs --example shims -- OUT [HEADERS...]
//!
//! Without folders of headers, it looks where JetPack and Debian put them.

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::path::PathBuf;

use tensorrt_rs::{Warnings, compile_shim, find_headers};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let out = arguments.next().ok_or("usage: shims OUT [HEADERS...]")?;
    let folders: Vec<PathBuf> = arguments.collect();
    let mut failed = 0;
    for headers in find_headers(&folders)? {
        match compile_shim(&headers, &out, Warnings::Denied) {
            Ok(shim) => println!("{} from {}", shim.display(), headers.folder.display()),
            Err(error) => {
                println!("error: {error}");
                failed += 1;
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} shims do not compile").into()),
    }
}
