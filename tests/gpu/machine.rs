//! A machine that has a stand-in of CUDA, and one of TensorRT 11.4 behind NVIDIA's own
//! interfaces and the real shim, compiled here.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use pilotage::engines;
use pilotage_engine::Bundle;
use pilotage_tensorrt::{Places, Shims};

use crate::run::{Orders, Told};

/// Where everything is, in the process that [`Machine::does`] starts.
pub const PLACE: &str = "PILOTAGE_TEST_PLACE";

/// The test that is a drive in that process.
const DRIVES: &str = "the_stand_in_drives_the_very_lap_that_the_cpu_drives";

pub struct Machine {
    place: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

/// NVIDIA's headers of TensorRT 11.4.
fn headers() -> PathBuf {
    let all = std::env::var_os("PILOTAGE_TENSORRT_HEADERS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tensorrt-headers"),
        PathBuf::from,
    );
    let found = all.join("TRT-Enterprise-11.4");
    assert!(
        found.exists(),
        "no {}; `cargo xtask test --install` puts it there",
        found.display()
    );
    found
}

/// NVIDIA's own library of that folder and name.
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
    /// With the engine's plan built and proven.
    pub fn new() -> Self {
        Self::made("c++", &[])
    }

    /// The same, watched by AddressSanitizer: shim and stand-ins are compiled for it, and the
    /// whole process takes its memory from it.
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
        let machine = Self::made(
            &compiler,
            &[
                ("CXX", compiler.clone()),
                (
                    "LD_PRELOAD",
                    String::from_utf8(library.stdout).unwrap().trim().to_owned(),
                ),
                // What is left is counted by the stand-ins.
                (
                    "ASAN_OPTIONS",
                    "detect_leaks=0:detect_stack_use_after_return=1".to_owned(),
                ),
            ],
        );
        let shim = machine.path("shims/libpilotage_tensorrt_110400.so");
        let shim = fs::read(shim).unwrap();
        assert!(shim.windows(6).any(|bytes| bytes == b"__asan"));
        machine
    }

    fn made(compiler: &str, environment: &[(&'static str, String)]) -> Self {
        let machine = Self {
            place: tempfile::tempdir().unwrap(),
            environment: environment.to_vec(),
        };
        for folder in ["libraries", "shims"] {
            fs::create_dir(machine.path(folder)).unwrap();
            mode(&machine.path(folder), 0o755);
        }
        let headers = headers();
        symlink(&headers, machine.path("headers")).unwrap();
        let tensorrt = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/tensorrt");
        let stand_in = tensorrt.join("tests/stand-in");
        let compile = |arguments: &[&Path], to: &Path| {
            let done = Command::new(compiler)
                .args(["-shared", "-fPIC", "-O1", "-g", "-pthread"])
                .args(["-Wno-unused-result", "-Wno-deprecated-declarations"])
                .args(arguments)
                .arg("-o")
                .arg(to)
                .arg("-ldl")
                .status();
            assert!(done.unwrap().success());
        };
        let cuda = machine.path("libraries/libcuda.so");
        compile(&[Path::new("-xc"), &stand_in.join("cuda.c")], &cuda);
        let tensorrt_library = machine.path("libraries/libnvinfer.so.11");
        compile(
            &[
                Path::new("-std=c++14"),
                Path::new("-isystem"),
                &headers,
                Path::new("-isystem"),
                &tensorrt.join("shim/stand-in"),
                &stand_in.join("nvinfer.cpp"),
            ],
            &tensorrt_library,
        );
        let parser = machine.path("libraries/libnvonnxparser.so.11");
        symlink(&tensorrt_library, parser).unwrap();
        let bundle = Bundle::read(engines::compiled_in("pilotnet").unwrap()).unwrap();
        let [input, output] = [&bundle.plan.inputs[0].name, &bundle.plan.outputs[0].name];
        // INT8 in, planar; float out.
        let header = format!("{input} 2 4 1 3 66 200 {output} 0 2 1 2\n");
        fs::write(machine.path("answers"), header).unwrap();
        let prepared = machine.does(
            &Orders {
                prepare: true,
                frames: Some(0),
                ..Orders::default()
            },
            &[],
        );
        assert!(prepared.error.is_none(), "{prepared:?}");
        machine
    }

    /// With another library in TensorRT's place, under its name.
    pub fn with_library(&self, library: &Path) {
        let place = self.path("libraries/libnvinfer.so.11");
        fs::remove_file(&place).unwrap();
        symlink(library, place).unwrap();
        // The stand-in's parser is of no use to another.
        let _ = fs::remove_file(self.path("libraries/libnvonnxparser.so.11"));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// What becomes of a drive in a process of its own.
    pub fn does(&self, orders: &Orders, environment: &[(&str, &str)]) -> Told {
        let run = tempfile::tempdir_in(self.place.path()).unwrap();
        let at = |name: &str| run.path().join(name);
        fs::write(at("orders"), serde_json::to_vec(orders).unwrap()).unwrap();
        let mut folders = vec![self.path("libraries")];
        let given = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        folders.extend(std::env::split_paths(&given));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", DRIVES, "--nocapture"])
            .env(PLACE, self.place.path())
            .env("PILOTAGE_TEST_RUN", run.path())
            .env("LD_LIBRARY_PATH", std::env::join_paths(folders).unwrap())
            .env("STAND_IN_ANSWERS", self.path("answers"))
            .env("STAND_IN_ASK", at("ask"))
            .env("STAND_IN_FAIL_FILE", at("fault"))
            .env("STAND_IN_LEFT", at("left"));
        if orders.trace {
            command.env("STAND_IN_TRACE", at("trace"));
        }
        let done = command
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{orders:?}, {environment:?}: {:?}\n{}\n{}",
            done.status,
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        let mut told: Told = serde_json::from_slice(&fs::read(at("said")).unwrap()).unwrap();
        told.trace = fs::read_to_string(at("trace")).unwrap_or_default();
        let left = fs::read_to_string(at("left")).unwrap();
        assert!(left.contains("pinned "), "{left}");
        told.left = left
            .lines()
            .filter(|line| !line.ends_with(" 0"))
            .map(str::to_owned)
            .collect();
        told
    }
}

/// Where the machine of this process has everything.
pub fn places(place: &Path) -> Places {
    Places {
        libraries: Some(place.join("libraries")),
        shims: Shims::In(place.join("shims")),
        headers: vec![place.join("headers")],
        plans: place.join("plans"),
    }
}

/// Whatever the umask is where the tests run.
fn mode(place: &Path, mode: u32) {
    fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
}
