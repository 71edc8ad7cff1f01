//! A machine with a substitute for CUDA, and one for TensorRT behind NVIDIA's own interfaces and the
//! real shim, compiled here.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use pilotage_engine::Bundle;
use pilotage_gpu::TensorRtPaths;
use tensorrt_rs::{Headers, Shims, Version};

use crate::run::{self, DriveOptions, DriveReport};
use crate::tensors::Tensors;
use crate::versions;

/// The folder of the machine, in the process that [`Machine::run_drive`] starts.
pub const PLACE: &str = "PILOTAGE_TEST_PLACE";

/// The test that makes the drive in that process.
const DRIVE_TEST: &str = "the_stand_in_drives_the_same_lap_as_the_cpu";

pub struct Machine {
    place: tempfile::TempDir,
    version: Version,
    environment: Vec<(&'static str, String)>,
    /// The engine's file; `None` for the compiled-in engine.
    engine: Option<PathBuf>,
}

/// NVIDIA's headers of TensorRT 11.4, or of the version that `cargo xtask stand-ins` chooses.
pub fn headers() -> Headers {
    match std::env::var_os("PILOTAGE_STAND_IN_HEADERS") {
        Some(folder) => Headers {
            folder: folder.into(),
        },
        None => installed_headers("Enterprise-11.4"),
    }
}

/// NVIDIA's headers of one version that the tests install.
pub fn installed_headers(version: &str) -> Headers {
    let all = std::env::var_os("PILOTAGE_TENSORRT_HEADERS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tensorrt-headers"),
        PathBuf::from,
    );
    let folder = all.join(format!("TRT-{version}"));
    assert!(
        folder.exists(),
        "no {}; `cargo xtask test --install` puts it there",
        folder.display()
    );
    Headers { folder }
}

/// NVIDIA's own library `name` in `folder`.
pub fn library(folder: &str, name: &str) -> PathBuf {
    let python = match std::env::var_os("PILOTAGE_PYTHON") {
        Some(python) => PathBuf::from(python).ancestors().nth(2).unwrap().to_owned(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python"),
    };
    let versions = fs::read_dir(python.join("lib")).into_iter().flatten();
    let mut found = versions.map(|version| {
        let packages = version.unwrap().path().join("site-packages");
        packages.join(folder).join(name)
    });
    found.find(|library| library.is_file()).unwrap_or_else(|| {
        panic!("no {name}; `cargo xtask test --install` puts it under target/python")
    })
}

impl Machine {
    /// A machine with the engine's plan built and validated.
    pub fn new() -> Self {
        Self::with_headers(&headers())
    }

    /// As [`new`](Self::new), with the engine in a file.
    pub fn of_engine(file: &Path) -> Self {
        Self::build(&headers(), "c++", &[], Some(file))
    }

    /// As [`new`](Self::new), with TensorRT of the version of `headers`.
    pub fn with_headers(headers: &Headers) -> Self {
        Self::build(headers, "c++", &[], None)
    }

    /// As [`new`](Self::new), under AddressSanitizer: shim and substitutes are compiled for it, and
    /// the whole process allocates from it.
    pub fn watched() -> Self {
        let tools = tempfile::tempdir().unwrap();
        let compiler = tools.path().join("c++");
        let script = "#!/bin/sh\nexec c++ -fsanitize=address \"$@\"\n";
        fs::write(&compiler, script).unwrap();
        mode(&compiler, 0o755);
        let library = Command::new("c++")
            .arg("-print-file-name=libasan.so")
            .output()
            .unwrap();
        let compiler = compiler.display().to_string();
        let machine = Self::build(
            &headers(),
            &compiler,
            &[
                ("CXX", compiler.clone()),
                (
                    "LD_PRELOAD",
                    String::from_utf8(library.stdout).unwrap().trim().to_owned(),
                ),
                // The substitutes count leaks.
                (
                    "ASAN_OPTIONS",
                    "detect_leaks=0:detect_stack_use_after_return=1".to_owned(),
                ),
            ],
            None,
        );
        let shim = machine.path("shims").join(machine.version.shim_file());
        let shim = fs::read(shim).unwrap();
        assert!(shim.windows(6).any(|bytes| bytes == b"__asan"));
        machine
    }

    fn build(
        headers: &Headers,
        compiler: &str,
        environment: &[(&'static str, String)],
        engine: Option<&Path>,
    ) -> Self {
        let version = versions::of(headers);
        let machine = Self {
            place: tempfile::tempdir().unwrap(),
            version,
            environment: environment.to_vec(),
            engine: engine.map(Path::to_owned),
        };
        for folder in ["libraries", "shims"] {
            fs::create_dir(machine.path(folder)).unwrap();
            mode(&machine.path(folder), 0o755);
        }
        // Another user builds the plan for root.
        mode(machine.place.path(), 0o755);
        symlink(&headers.folder, machine.path("headers")).unwrap();
        let tensorrt = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/tensorrt");
        let stand_in = tensorrt.join("tests/stand-in");
        let compile = |arguments: &[&Path], to: &Path| {
            let done = Command::new(compiler)
                .args(["-shared", "-fPIC", "-O0", "-g1", "-pthread"])
                .args(["-Wno-unused-result", "-Wno-deprecated-declarations"])
                .args(arguments)
                .arg("-o")
                .arg(to)
                .arg("-ldl")
                .status();
            assert!(done.unwrap().success());
        };
        let cuda = machine.path("libraries/libcuda.so.1");
        let driver = Path::new(versions::driver(version));
        compile(&[driver, Path::new("-xc"), &stand_in.join("cuda.c")], &cuda);
        let tensorrt_library = machine.library("nvinfer");
        compile(
            &[
                Path::new("-std=c++14"),
                Path::new("-isystem"),
                &headers.folder,
                Path::new("-isystem"),
                &tensorrt.join("shim/stand-in"),
                &stand_in.join("nvinfer.cpp"),
            ],
            &tensorrt_library,
        );
        symlink(&tensorrt_library, machine.library("nvonnxparser")).unwrap();
        let bundle = Bundle::read(&run::engine_file(engine)).unwrap();
        let header = Tensors::of(&bundle).header();
        fs::write(machine.path("answers"), header).unwrap();
        mode(&machine.path("answers"), 0o644);
        let prepared = machine.prepare(&[]);
        assert!(prepared.starts_with("int8: "), "{prepared}");
        machine
    }

    /// Prepares the plan. Returns its precision and notes, or the error.
    pub fn prepare(&self, environment: &[(&str, &str)]) -> String {
        let options = DriveOptions {
            prepare: true,
            frames: Some(0),
            ..DriveOptions::default()
        };
        let report = self.run_drive(&options, environment);
        report.prepared.unwrap()
    }

    /// Replaces TensorRT's library with one of NVIDIA's own, under the same name. NVIDIA's looks for
    /// the driver as `libcuda.so.1` only, so this machine's gets the name that only Pilotage tries.
    pub fn with_library(&self, library: &Path) {
        let driver = self.path("libraries/libcuda.so.1");
        if driver.exists() {
            fs::rename(driver, self.path("libraries/libcuda.so")).unwrap();
        }
        let place = self.library("nvinfer");
        fs::remove_file(&place).unwrap();
        symlink(library, place).unwrap();
        // The substitute's parser does not fit the other library.
        let _ = fs::remove_file(self.library("nvonnxparser"));
    }

    /// The file of the plan.
    pub fn plan(&self) -> PathBuf {
        let mut files = fs::read_dir(self.path("plans")).unwrap();
        let plan = files.find_map(|entry| {
            let file = entry.unwrap().path();
            file.extension()
                .is_some_and(|end| end == "plan")
                .then_some(file)
        });
        plan.unwrap()
    }

    /// Deletes the plan.
    pub fn delete_plan(&self) {
        fs::remove_file(self.plan()).unwrap();
    }

    /// The version of its TensorRT.
    pub fn version(&self) -> Version {
        self.version
    }

    fn library(&self, name: &str) -> PathBuf {
        let (major, ..) = self.version.parts();
        self.path(&format!("libraries/lib{name}.so.{major}"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Makes a drive in a separate process, and returns its report.
    pub fn run_drive(&self, options: &DriveOptions, environment: &[(&str, &str)]) -> DriveReport {
        let run = tempfile::tempdir_in(self.place.path()).unwrap();
        mode(run.path(), 0o755);
        let at = |name: &str| run.path().join(name);
        let options = &DriveOptions {
            engine: self.engine.clone(),
            ..options.clone()
        };
        fs::write(at("options"), serde_json::to_vec(options).unwrap()).unwrap();
        let mut folders = vec![self.path("libraries")];
        let given = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        folders.extend(std::env::split_paths(&given));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", DRIVE_TEST, "--nocapture"])
            .env(PLACE, self.place.path())
            .env("PILOTAGE_TEST_RUN", run.path())
            .env("LD_LIBRARY_PATH", std::env::join_paths(folders).unwrap())
            .env("STAND_IN_ANSWERS", self.path("answers"))
            .env("STAND_IN_ASK", at("ask"))
            .env("STAND_IN_FAIL_FILE", at("fault"))
            .env("STAND_IN_LEFT", at("left"));
        if options.trace {
            command.env("STAND_IN_TRACE", at("trace"));
        }
        let done = command
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{options:?}, {environment:?}: {:?}\n{}\n{}",
            done.status,
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        let mut report: DriveReport =
            serde_json::from_slice(&fs::read(at("report")).unwrap()).unwrap();
        report.trace = fs::read_to_string(at("trace")).unwrap_or_default();
        // Each process that has ended in order writes it.
        let left = fs::read_to_string(at("left")).unwrap_or_default();
        report.released = left.contains("pinned ");
        report.left = left
            .lines()
            .filter(|line| !line.ends_with(" 0"))
            .map(str::to_owned)
            .collect();
        report
    }
}

/// The paths of this machine's libraries and files.
pub fn places(place: &Path) -> TensorRtPaths {
    TensorRtPaths {
        libraries: Some(place.join("libraries")),
        shims: Shims::In(place.join("shims")),
        headers: vec![place.join("headers")],
        plans: place.join("plans"),
    }
}

/// Sets a file's mode, regardless of the umask.
fn mode(place: &Path, mode: u32) {
    fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
}
