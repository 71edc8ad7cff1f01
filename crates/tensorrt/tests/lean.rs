//! Tests of NVIDIA's TensorRT 11.4 without a GPU: its lean runtime through the real shim.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test prints what it measured"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

mod real;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use real::{headers, lean};
use tensorrt_rs::{
    BuildOptions, Headers, Owner, Product, Shims, TensorRt, TensorRtError, TrustedBytes, Typing,
    Warnings, compile_shim,
};

/// A folder with the lean runtime under the file name of the full library.
fn library_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    symlink(
        lean().join("libnvinfer_lean.so.11"),
        folder.path().join("libnvinfer.so.11"),
    )
    .unwrap();
    folder
}

fn open(folder: &Path) -> Result<TensorRt, TensorRtError> {
    let shims = Shims::In(folder.to_owned());
    TensorRt::open(Product::TensorRt, Some(folder), &shims)
}

#[test]
fn only_the_shim_of_the_same_version_is_used() {
    let folder = library_folder();
    let installed = TensorRt::installed(Product::TensorRt, Some(folder.path()));
    assert_eq!(installed.unwrap().to_string(), "TensorRT 11.4.0");
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, TensorRtError::NoShim { .. }), "{error}");

    // A shim of the next version, under the name of this version's shim.
    let other = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(headers("Enterprise-11.4").folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, other.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let file = other.path().join("NvInferVersion.h");
    let text = fs::read_to_string(&file).unwrap();
    let changed = text.replace(
        "#define TRT_MINOR_ENTERPRISE 4",
        "#define TRT_MINOR_ENTERPRISE 5",
    );
    assert_ne!(text, changed);
    fs::write(&file, changed).unwrap();
    let next = Headers {
        folder: other.path().to_owned(),
    };
    let next = compile_shim(&next, folder.path(), Warnings::Allowed).unwrap();
    let own = folder.path().join("libtensorrt_rs_shim_110400.so");
    for extension in ["so", "so.sha256"] {
        fs::rename(
            next.with_extension(extension),
            own.with_extension(extension),
        )
        .unwrap();
    }
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, TensorRtError::WrongShim { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("made for TensorRT 11.5.0, and the library is TensorRT 11.4.0"),
        "{error}"
    );

    compile_shim(&headers("Enterprise-11.4"), folder.path(), Warnings::Denied).unwrap();
    let opened = open(folder.path()).unwrap();
    assert_eq!(opened.version().to_string(), "TensorRT 11.4.0");
    assert_eq!(opened.typing(), Typing::ByModel);
}

#[test]
fn without_a_driver_no_plan_is_loaded_and_the_error_says_why() {
    let folder = library_folder();
    compile_shim(&headers("Enterprise-11.4"), folder.path(), Warnings::Denied).unwrap();
    let tensorrt = open(folder.path()).unwrap();
    let built = tensorrt.build(b"a model", &BuildOptions::default());
    let message = built.unwrap_err().to_string();
    assert!(message.contains("can only run plans"), "{message}");
    // Creating the runtime may succeed without a driver, or already report the missing driver.
    let file = folder.path().join("plan");
    fs::write(&file, "a plan").unwrap();
    let plan = TrustedBytes::read(&file, Owner::RootOrUser, 100).unwrap();
    let loaded = tensorrt
        .runtime(None)
        .and_then(|runtime| runtime.load(&plan).map(|_| ()));
    let message = loaded.unwrap_err().to_string();
    println!("{message}");
    assert!(message.contains("35"), "{message}");
    assert!(
        message
            .ends_with("this machine has no NVIDIA driver, or one older than this TensorRT wants"),
        "{message}"
    );
}
