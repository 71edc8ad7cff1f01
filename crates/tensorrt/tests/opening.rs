//! Tests of compiling and opening shims: a library is never called through a shim of another
//! version.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

mod real;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use real::{headers, libraries};
use tensorrt_rs::{
    Headers, Product, ShimError, Shims, TensorRt, TensorRtError, Warnings, compile_shim,
    find_headers,
};

fn open_with(shims: &Path) -> TensorRtError {
    let shims = Shims::In(shims.to_owned());
    TensorRt::open(Product::TensorRtRtx, Some(&libraries()), &shims).unwrap_err()
}

/// Compiles C source to a shared library.
fn library(file: &Path, source: &str) {
    let code = file.with_extension("c");
    fs::write(&code, source).unwrap();
    let compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([file, &code])
        .status();
    assert!(compiler.unwrap().success());
}

#[test]
fn the_shim_compiles_against_all_available_headers() {
    let folder = tempfile::tempdir().unwrap();
    for (version, file) in [
        ("Enterprise-10.16", "libtensorrt_rs_shim_101600.so"),
        ("Enterprise-11.4", "libtensorrt_rs_shim_110400.so"),
        ("RTX-1.3", "libtensorrt_rs_shim_rtx_10300.so"),
        ("RTX-1.4", "libtensorrt_rs_shim_rtx_10400.so"),
        ("RTX-1.5", "libtensorrt_rs_shim_rtx_10500.so"),
        ("RTX-1.6", "libtensorrt_rs_shim_rtx_10601.so"),
        ("RTX-1.7", "libtensorrt_rs_shim_rtx_10701.so"),
    ] {
        let shim = compile_shim(&headers(version), folder.path(), Warnings::Denied).unwrap();
        assert_eq!(shim, folder.path().join(file));
        assert!(shim.with_extension("so.sha256").is_file());
        // The shim does not depend on the libraries of TensorRT, CUDA or C++.
        let bytes = fs::read(&shim).unwrap();
        for needed in [
            &b"libnvinfer"[..],
            b"libcuda",
            b"libstdc++.so",
            b"libtensorrt",
        ] {
            assert!(
                !bytes.windows(needed.len()).any(|found| found == needed),
                "{version}"
            );
        }
    }
}

#[test]
fn missing_headers_and_bad_headers_are_distinguished() {
    let folder = tempfile::tempdir().unwrap();
    let none = find_headers(&[folder.path().to_owned()])
        .unwrap_err()
        .to_string();
    assert!(none.contains("NvInfer.h not found"), "{none}");
    // The first package exists since TensorRT 8.6: not on JetPack 4 and 5.
    for package in ["libnvinfer-headers-dev", "libnvinfer-dev"] {
        assert!(none.contains(package), "{none}");
    }

    for (version, expected) in [
        ("", "does not say"),
        ("#define NV_TENSORRT_MAJOR x\n", "does not say"),
    ] {
        for name in ["NvInfer.h", "NvOnnxParser.h"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::write(folder.path().join("NvInferVersion.h"), version).unwrap();
        let found = find_headers(&[folder.path().to_owned()]).unwrap();
        let out = tempfile::tempdir().unwrap();
        let error = compile_shim(&found[0], out.path(), Warnings::Denied)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }
    // The headers define a version and nothing else: the compiler's message is passed on.
    let digits =
        "#define NV_TENSORRT_MAJOR 10\n#define NV_TENSORRT_MINOR 3\n#define NV_TENSORRT_PATCH 0\n";
    fs::write(folder.path().join("NvInferVersion.h"), digits).unwrap();
    let headers = Headers {
        folder: folder.path().to_owned(),
    };
    let error = compile_shim(&headers, &folder.path().join("out"), Warnings::Denied).unwrap_err();
    assert!(
        matches!(&error, ShimError::Compile { output, .. } if output.contains("error")),
        "{error}"
    );
}

/// The headers of 11.4, with `change` made to one of them.
fn changed(file: &str, change: fn(String) -> String) -> (tempfile::TempDir, Headers) {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(headers("Enterprise-11.4").folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let path = folder.path().join(file);
    let before = fs::read_to_string(&path).unwrap();
    let after = change(before.clone());
    assert_ne!(before, after);
    fs::write(&path, after).unwrap();
    let headers = Headers {
        folder: folder.path().to_owned(),
    };
    (folder, headers)
}

#[test]
fn warnings_in_headers_do_not_prevent_a_shim() {
    let out = tempfile::tempdir().unwrap();
    // Versions 10.5 to 10.11 deprecate the only query for fast INT8 in this way.
    let (_folder, deprecated) = changed("NvInferRuntime.h", |text| {
        text.replace(
            "    bool enqueueV3(",
            "    __attribute__((deprecated)) bool enqueueV3(",
        )
    });
    compile_shim(&deprecated, out.path(), Warnings::Denied).unwrap();
    // A warning of a hypothetical later version.
    let (_folder, strict) = changed("NvInfer.h", |text| {
        let strict = "    __attribute__((warn_unused_result)) int clearFlag(";
        text.replace("    void clearFlag(", strict).replace(
            "mImpl->clearFlag(builderFlag);",
            "mImpl->clearFlag(builderFlag); return 0;",
        )
    });
    let error = compile_shim(&strict, out.path(), Warnings::Denied).unwrap_err();
    assert!(error.to_string().contains("unused-result"), "{error}");
    compile_shim(&strict, out.path(), Warnings::Allowed).unwrap();
}

#[test]
fn headers_of_a_version_that_is_too_old_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("NvInfer.h", "");
    write("NvOnnxParser.h", "");
    write(
        "NvInferVersion.h",
        "#define NV_TENSORRT_MAJOR 8\n#define NV_TENSORRT_MINOR 0\n#define NV_TENSORRT_PATCH 1\n",
    );
    let [old] = &find_headers(&[folder.path().to_owned()]).unwrap()[..] else {
        panic!()
    };
    for error in [
        old.shim_file().unwrap_err(),
        compile_shim(old, folder.path(), Warnings::Allowed).unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(
            message.ends_with(
                "they are of TensorRT 8.0.1, and 8.2 (JetPack 4.6.1) is the first version that can \
                 be used"
            ),
            "{message}"
        );
    }
}

#[test]
fn a_library_without_its_own_shim_is_not_called() {
    let folder = tempfile::tempdir().unwrap();
    let error = open_with(folder.path()).to_string();
    assert!(error.contains("no shim for TensorRT-RTX 1.7.1"), "{error}");

    // The shim of version 1.3 under the name of 1.7: calling through it would crash.
    let other = compile_shim(&headers("RTX-1.3"), folder.path(), Warnings::Denied).unwrap();
    let name = folder.path().join("libtensorrt_rs_shim_rtx_10701.so");
    fs::copy(&other, &name).unwrap();
    fs::copy(
        other.with_extension("so.sha256"),
        name.with_extension("so.sha256"),
    )
    .unwrap();
    let error = open_with(folder.path());
    assert!(matches!(error, TensorRtError::WrongShim { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("made for TensorRT-RTX 1.3.0, and the library is TensorRT-RTX 1.7.1"),
        "{error}"
    );
}

#[test]
fn a_damaged_shim_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let shim = compile_shim(&headers("RTX-1.7"), folder.path(), Warnings::Denied).unwrap();
    let whole = fs::read(&shim).unwrap();
    let checksum = shim.with_extension("so.sha256");
    let assert_damaged = |reason: &str| {
        let error = open_with(folder.path());
        assert!(
            matches!(error, TensorRtError::DamagedShim { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(reason), "{error}");
    };
    fs::write(&shim, &whole[..whole.len() / 2]).unwrap();
    assert_damaged("its checksum is another");
    let mut changed = whole.clone();
    changed[whole.len() / 3] ^= 1;
    fs::write(&shim, &changed).unwrap();
    assert_damaged("its checksum is another");
    fs::write(&shim, &whole).unwrap();
    let digest = fs::read(&checksum).unwrap();
    fs::remove_file(&checksum).unwrap();
    assert_damaged("its checksum cannot be read");

    fs::write(&checksum, &digest).unwrap();
    let shims = Shims::In(folder.path().to_owned());
    TensorRt::open(Product::TensorRtRtx, Some(&libraries()), &shims).unwrap();

    // An intact shim that lacks the functions.
    let folder = tempfile::tempdir().unwrap();
    let shim = folder.path().join(shim.file_name().unwrap());
    library(
        &shim,
        "struct { unsigned abi; int product, version, parser, typing; } info = {3, 1, 10701, 200, 2};\n\
         const void *tensorrt_rs_shim_describe(void) { return &info; }\n",
    );
    let sum = Command::new("sha256sum").arg(&shim).output().unwrap();
    fs::write(shim.with_extension("so.sha256"), &sum.stdout[..64]).unwrap();
    let error = open_with(folder.path()).to_string();
    assert!(
        error.contains("it has no tensorrt_rs_build_plan"),
        "{error}"
    );
}

#[test]
fn a_library_that_is_not_tensorrt_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let shims = Shims::In(folder.path().to_owned());
    let open = |product| TensorRt::open(product, Some(folder.path()), &shims).unwrap_err();
    let error = open(Product::TensorRt);
    assert!(matches!(error, TensorRtError::NoLibrary { .. }), "{error}");
    for name in [
        "libnvinfer.so.11",
        "libnvinfer.so.10",
        "libnvinfer.so.8",
        "tensorrt-libs",
    ] {
        assert!(error.to_string().contains(name), "{error}");
    }

    let place: PathBuf = folder.path().join("libnvinfer.so.10");
    fs::write(&place, "half a download").unwrap();
    let error = open(Product::TensorRt);
    assert!(matches!(error, TensorRtError::NoLibrary { .. }), "{error}");

    library(&place, "int getInferLib(void) { return 1; }\n");
    let error = open(Product::TensorRt).to_string();
    assert!(error.contains("it has no getInferLibVersion"), "{error}");
}

#[test]
fn an_unknown_version_is_rejected_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    // Any call except the one for the version ends the process.
    library(
        &folder.path().join("libnvinfer.so.11"),
        "#include <stdlib.h>\n\
         int getInferLibVersion(void) { return 119902; }\n\
         void *createInferRuntime_INTERNAL(void *logger, int version) { abort(); }\n\
         void *createInferBuilder_INTERNAL(void *logger, int version) { abort(); }\n",
    );
    let error = TensorRt::open(
        Product::TensorRt,
        Some(folder.path()),
        &Shims::In(folder.path().to_owned()),
    );
    let error = error.unwrap_err();
    assert!(matches!(error, TensorRtError::NoShim { .. }), "{error}");
    assert!(error.to_string().contains("TensorRT 11.99.2"), "{error}");
}

#[test]
fn a_shim_is_opened_at_its_real_path_and_only_if_no_other_user_could_have_written_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(place(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for name in ["real", "links"] {
        fs::create_dir(place(name)).unwrap();
        mode(name, 0o755);
    }
    let shim = compile_shim(&headers("RTX-1.7"), &place("real"), Warnings::Denied).unwrap();
    let link = place("links").join(shim.file_name().unwrap());
    std::os::unix::fs::symlink(&shim, &link).unwrap();
    let open = || {
        let shims = Shims::In(place("links"));
        TensorRt::open(Product::TensorRtRtx, Some(&libraries()), &shims)
    };
    // There is no checksum beside the symlink: the checksum and the shim are read from the folder
    // that the symlink points to.
    open().unwrap();
    let others = [
        ("real", 0o777),
        ("links", 0o777),
        ("real", 0o1777),
        ("real", 0o775),
    ];
    for (name, permissions) in others {
        mode(name, permissions);
        let error = open().unwrap_err();
        let real = fs::canonicalize(place(name)).unwrap();
        let reason = format!("{} can be written by others", real.display());
        assert!(matches!(error, TensorRtError::NoShim { .. }), "{error}");
        assert!(
            error.to_string().contains(&reason),
            "{permissions:o}: {error}"
        );
        mode(name, 0o755);
    }
    let file = format!("real/{}", shim.file_name().unwrap().display());
    mode(&file, 0o666);
    let error = open().unwrap_err().to_string();
    assert!(error.contains(".so can be written by others"), "{error}");
    mode(&file, 0o644);
    open().unwrap();
}

#[test]
fn all_folders_are_searched_and_named() {
    let shims = Shims::RootOnly(vec!["/var/lib/none".into(), "/usr/lib/none".into()]);
    let error = TensorRt::open(Product::TensorRtRtx, Some(&libraries()), &shims).unwrap_err();
    let message = error.to_string();
    for folder in ["/var/lib/none", "/usr/lib/none"] {
        let missing = format!("{folder}/libtensorrt_rs_shim_rtx_10701.so is not there");
        assert!(message.contains(&missing), "{message}");
    }
}

/// The program of `cargo xtask gpu-test --driver-only`, which is built with the tests.
fn driver_test() -> Command {
    let this = std::env::current_exe().unwrap();
    let built = this.ancestors().nth(2).unwrap().join("examples/driver");
    assert!(
        built.exists(),
        "no {}: `cargo build -p tensorrt-rs --example driver`, as a run of all tests does",
        built.display()
    );
    Command::new(built)
}

/// All but `late`: the stand-in for CUDA has no work in flight.
#[test]
fn the_drivers_test_passes_on_the_stand_in_and_names_what_is_missing_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let cuda = folder.path().join("libcuda.so.1");
    let sources = real::checkout("crates/tensorrt");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-w", "-I"])
        .arg(sources.join("shim"))
        .arg(sources.join("tests/stand-in/cuda.c"))
        .arg("-o")
        .arg(&cuda)
        .status();
    assert!(compiled.unwrap().success());
    let run = |environment: &[(&str, &str)], cases: &[&str]| {
        let done = driver_test()
            .args(cases)
            .env("LD_LIBRARY_PATH", folder.path())
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let text = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap());
        (done.status.code(), text.concat())
    };
    let replayed = ["graph, mapped", "graph, copied", "sleeping, low priority"];
    let enqueued = ["enqueue, mapped", "enqueue, copied"];
    let cases = [&replayed[..], &enqueued, &["a kernel traps"]].concat();
    let (code, table) = run(&[], &cases);
    assert_eq!(code, Some(0), "{table}");
    for case in replayed.iter().chain(&enqueued) {
        let row = format!("| {case} | 500 right answers; ");
        assert!(table.contains(&row), "{row}: {table}");
    }
    assert!(table.contains("CUDA error 719"), "{table}");
    // Each inference is enqueued, where a graph was asked for.
    let (code, table) = run(
        &[("STAND_IN_FAIL", "cuStreamBeginCapture_v2")],
        &replayed[..1],
    );
    assert_eq!(code, Some(1), "{table}");
    assert!(table.contains("there is no graph"), "{table}");

    let nothing = [("STAND_IN_NO_DEVICE", "1"), ("CC", "/nonexistent/cc")];
    let (code, lacks) = run(&nothing, &[]);
    assert_eq!(code, Some(1), "{lacks}");
    for lack in [
        "missing: a GPU: the NVIDIA driver knows of no GPU here",
        "missing: a C compiler (/nonexistent/cc): sudo apt-get install gcc",
    ] {
        assert!(lacks.contains(lack), "{lack}: {lacks}");
    }
}
