//! A machine with stand-ins for CUDA and TensorRT. Each run is a process with its own environment.
#![allow(dead_code, reason = "no test uses all of it")]

#[path = "../../../tensorrt/tests/real/mod.rs"]
pub mod real;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use pilotage_compiler::{Network, compile};
use pilotage_engine::{Bundle, GateResult, ValidationSet};
use pilotage_gpu::{TensorRtPaths, prepare};
use tempfile::TempDir;
use tensorrt_rs::{Headers, Product, Shims, Version};

pub const LIBRARY: &str = "TensorRT 10.3.0";
pub const SHIM: &str = "libtensorrt_rs_shim_100300.so";

/// The variable with the machine's folder, for the child process of [`Machine::does`].
const PLACE: &str = "PILOTAGE_TEST_PLACE";
/// The variable with the role that the child process plays instead of the test of this module.
const ROLE: &str = "PILOTAGE_TEST_ROLE";

/// [`Machine::does`] starts this program with this test only. In that child process the test plays
/// a role of the including file's tests.
#[test]
fn a_child_process_with_the_stand_ins_prepares_a_plan() {
    if let Ok(role) = std::env::var(ROLE) {
        return crate::play(&role);
    }
    let machine = Machine::new();
    let output = machine.run(&[]);
    assert!(
        output.starts_with(&format!("int8 on {LIBRARY}")),
        "{output}"
    );
    assert_eq!(machine.plans().len(), 1);
}

/// The machine's folder, the engine file and the places, in the child process of
/// [`Machine::does`].
pub fn child_environment() -> (PathBuf, Bundle, TensorRtPaths) {
    let place = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let bytes = fs::read(place.join("engine")).unwrap();
    let headers = ["broken-headers", "headers"].map(|name| place.join(name));
    let places = TensorRtPaths {
        libraries: Some(place.join("libraries")),
        shims: Shims::In(place.join("shims")),
        headers: headers
            .into_iter()
            .filter(|headers| headers.exists())
            .collect(),
        plans: place.join("plans"),
    };
    (place, Bundle::read(&bytes).unwrap(), places)
}

/// The role of [`Machine::run`]: calls `prepare` and writes its result.
pub fn prepares() {
    let (place, bundle, places) = child_environment();
    let progress = std::sync::atomic::AtomicU32::new(0);
    let result = prepare(&bundle, &places, &|_| {
        progress.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        true
    });
    let text = match result {
        Err(error) => format!("error: {error}"),
        Ok(prepared) => {
            assert!(prepared.file.starts_with(place.join("plans")));
            assert!(prepared.file.is_file());
            assert!(prepared.gate.iter().all(GateResult::passes));
            format!(
                "{} on {}; {} results; {} steps; layers {:?}; {}",
                prepared.precision,
                prepared.backend,
                prepared.gate.len(),
                progress.into_inner(),
                prepared.layers,
                prepared.notes.join("; ")
            )
        }
    };
    fs::write(place.join("output"), text).unwrap();
}

/// A machine with stand-ins, and an engine file to prepare.
pub struct Machine {
    place: TempDir,
    version: Version,
}

/// The version of TensorRT of some headers, as the shim for them has it.
fn version_of(headers: &Headers) -> Version {
    let shim = headers.shim_file().unwrap();
    let number = shim.trim_end_matches(".so").rsplit('_').next().unwrap();
    Version {
        product: Product::TensorRt,
        number: number.parse().unwrap(),
    }
}

/// [`Version::number`] of TensorRT 8.5.0.
const FIRST_OF_TENSORRT_8_5: i32 = 8_500;

/// Functions of an engine and its context since TensorRT 8.5, and what has their place before.
const BEFORE_8_5: [(&str, &str); 8] = [
    ("enqueueV3", "enqueueV2"),
    ("getIOTensorName", "getBindingName"),
    ("getNbIOTensors", "getNbBindings"),
    ("getTensorDataType", "getBindingDataType"),
    ("getTensorFormat", "getBindingFormat"),
    ("getTensorIOMode", "bindingIsInput"),
    ("getTensorShape", "getBindingDimensions"),
    ("setTensorAddress", "getBindingIndex"),
];

impl Machine {
    /// A machine with an INT8 engine file of a small PyTorch model. It answers as the CPU engine.
    pub fn new() -> Self {
        Self::with("")
    }

    /// As [`Self::new`], with the lines `more` in the recipe.
    pub fn with(more: &str) -> Self {
        let machine = Self {
            place: TempDir::new().unwrap(),
            version: Version {
                product: Product::TensorRt,
                number: 100_300,
            },
        };
        for folder in ["libraries", "shims", "headers"] {
            fs::create_dir(machine.path(folder)).unwrap();
            mode(&machine.path(folder), 0o755);
        }
        machine.compile("cuda.c", &machine.path("libraries/libcuda.so.1"), &[]);
        let library = machine.path("libraries/libnvinfer.so.10");
        machine.compile("tensorrt.c", &library, &["-DVERSION=100300"]);
        fs::copy(&library, machine.path("libraries/libnvonnxparser.so.10")).unwrap();
        fs::copy(&library, machine.path("shims").join(SHIM)).unwrap();
        mode(&machine.path("shims").join(SHIM), 0o755);
        machine.sign(SHIM);

        frames(&machine.path("frames"));
        let model = real::checkout("crates/compiler/tests/exports/pytorch.onnx");
        let recipe = format!(
            "model = {model:?}\nprecision = \"int8\"\ndomain = \"physical\"\n[input]\nwidth = 200\nheight = 66\n\
             scale = 0.00784313725490196\nmean = [0.5, 0.5, 0.5]\n\
             [[output]]\nmeaning = \"steering\"\nindex = 0\ngate = {{ mse = 0.05, worst = 0.5 }}\n\
             [[output]]\nmeaning = \"throttle\"\nindex = 1\ngate = {{ mse = 0.05, worst = 0.5 }}\n\
             [calibration]\nframes = \"frames\"\n{more}"
        );
        fs::write(machine.path("small.toml"), recipe).unwrap();
        let compiled = compile(&machine.path("small.toml")).unwrap();
        fs::write(machine.path("engine"), &compiled.bytes).unwrap();
        machine.answers("answers", 2, |answer| answer);
        machine
    }

    /// A machine with a stand-in for TensorRT 8.2 and the driver of CUDA 10.2, as JetPack 4.6.1 has them.
    /// `more` are lines of the recipe.
    pub fn of_jetpack_4_6(more: &str) -> Self {
        let machine = Self::with(more);
        for folder in ["libraries", "shims"] {
            for entry in fs::read_dir(machine.path(folder)).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
        let cuda = machine.path("libraries/libcuda.so.1");
        machine.compile("cuda.c", &cuda, &["-DCUDA_10_2"]);
        let library = machine.path("libraries/libnvinfer.so.8");
        machine.compile(
            "tensorrt.c",
            &library,
            &["-DVERSION=8201", "-DSHIM_VERSION=8201"],
        );
        fs::copy(&library, machine.path("libraries/libnvonnxparser.so.8")).unwrap();
        let shim = "libtensorrt_rs_shim_8201.so";
        fs::copy(&library, machine.path("shims").join(shim)).unwrap();
        mode(&machine.path("shims").join(shim), 0o755);
        machine.sign(shim);
        machine
    }

    /// A machine with a stand-in for TensorRT that has NVIDIA's C++ interfaces, with headers for the
    /// shim, and without a shim. It is of the newest version of [`real::stand_in_headers`].
    /// `compiler` compiles the stand-in.
    pub fn behind_the_shim(compiler: &str) -> Self {
        let headers = real::stand_in_headers().pop().unwrap();
        Self::with_headers(&headers, compiler)
    }

    /// As [`Self::behind_the_shim`], of the version of `headers`.
    pub fn with_headers(headers: &Headers, compiler: &str) -> Self {
        let mut machine = Self::new();
        for folder in ["libraries", "shims", "headers"] {
            fs::remove_dir_all(machine.path(folder)).unwrap();
            if folder != "headers" {
                fs::create_dir(machine.path(folder)).unwrap();
                mode(&machine.path(folder), 0o755);
            }
        }
        let version = version_of(headers);
        machine.version = version;
        let driver: &[&str] = match version.number < FIRST_OF_TENSORRT_8_5 {
            true => &["-DCUDA_10_2"],
            false => &[],
        };
        machine.compile("cuda.c", &machine.path("libraries/libcuda.so.1"), driver);
        symlink(&headers.folder, machine.path("headers")).unwrap();
        let (major, ..) = version.parts();
        let library = machine.path(&format!("libraries/libnvinfer.so.{major}"));
        let sources = real::checkout("crates/tensorrt");
        let compiled = Command::new(compiler)
            .args(["-std=c++14", "-shared", "-fPIC", "-O0", "-g1", "-pthread"])
            .args([
                "-Wall",
                "-Wextra",
                "-Werror",
                "-Wno-deprecated-declarations",
            ])
            .arg("-isystem")
            .arg(&headers.folder)
            .arg("-isystem")
            .arg(sources.join("shim/stand-in"))
            .arg(sources.join("tests/stand-in/nvinfer.cpp"))
            .arg("-o")
            .arg(&library)
            .arg("-ldl")
            .status();
        assert!(compiled.unwrap().success());
        // The loader opens the same library for both names, so both have one logger, as the real
        // libraries do.
        let parser = machine.path(&format!("libraries/libnvonnxparser.so.{major}"));
        symlink(&library, parser).unwrap();
        machine
    }

    /// The version of its TensorRT.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The path of the shim for its TensorRT.
    pub fn shim(&self) -> PathBuf {
        self.path("shims").join(self.version.shim_file())
    }

    /// The name of a function of TensorRT in this machine's version, for the name in newer versions.
    pub fn call(&self, name: &'static str) -> &'static str {
        let before = BEFORE_8_5.iter().find(|(newer, _)| *newer == name);
        match before {
            Some((_, before)) if self.version.number < FIRST_OF_TENSORRT_8_5 => before,
            _ => name,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub fn compile(&self, source: &str, to: &Path, options: &[&str]) {
        let shim = real::checkout("crates/tensorrt/shim");
        let source = real::checkout("crates/tensorrt/tests/stand-in").join(source);
        let compiler = Command::new("cc")
            .args([
                "-shared",
                "-fPIC",
                "-O1",
                "-Wall",
                "-Wno-unused-result",
                "-Werror",
            ])
            .args(options)
            .arg("-I")
            .args([&shim, &source])
            .arg("-o")
            .arg(to)
            .status();
        assert!(compiler.unwrap().success());
    }

    pub fn sign(&self, shim: &str) {
        let shim = self.path("shims").join(shim);
        let sum = Command::new("sha256sum").arg(&shim).output().unwrap();
        fs::write(shim.with_extension("so.sha256"), &sum.stdout[..64]).unwrap();
    }

    /// Writes the device's answer to each frame: the CPU engine's answer, changed by `change`.
    /// `element` is TensorRT's number of the input's element type.
    pub fn answers(&self, name: &str, element: i32, change: fn(f32) -> f32) {
        let bundle = Bundle::read(&fs::read(self.path("engine")).unwrap()).unwrap();
        let validation = ValidationSet::of(&bundle).unwrap();
        let frames: Vec<&[u8]> = validation.frames().iter().map(Vec::as_slice).collect();
        let answers = Network::of_plan(bundle.plan.clone(), false).answers(&frames);
        let [input, output] = [&bundle.plan.inputs[0].name, &bundle.plan.outputs[0].name];
        let mut text = format!("1 1 {input} {element} 4 1 3 66 200 {output} 0 2 1 2\n");
        for (frame, answer) in frames.iter().zip(answers.unwrap()) {
            let planes = (0..3).flat_map(|channel| frame.iter().skip(channel).step_by(3));
            let pixels = planes.map(|&pixel| i16::from(pixel) - 128);
            let bytes: Vec<u8> = match element {
                2 => pixels.map(|pixel| pixel.to_le_bytes()[0]).collect(),
                _ => pixels
                    .flat_map(|pixel| f32::from(pixel).to_le_bytes())
                    .collect(),
            };
            let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let numbers: Vec<String> = answer.iter().map(|&x| change(x).to_string()).collect();
            writeln!(text, "{hash:x} {}", numbers.join(" ")).unwrap();
        }
        fs::write(self.path(name), text).unwrap();
    }

    /// Runs `prepare` in a child process and returns what it wrote.
    pub fn run(&self, environment: &[(&str, &str)]) -> String {
        self.does("prepares", environment)
    }

    /// Runs a role in a child process and returns what it wrote.
    pub fn does(&self, role: &str, environment: &[(&str, &str)]) -> String {
        let _ = fs::remove_file(self.path("output"));
        let mut folders = vec![self.path("libraries")];
        let given = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        folders.extend(std::env::split_paths(&given));
        let run = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "stand_in::a_child_process_with_the_stand_ins_prepares_a_plan",
            ])
            .env(ROLE, role)
            .env(PLACE, self.place.path())
            .env("LD_LIBRARY_PATH", std::env::join_paths(folders).unwrap())
            .env("STAND_IN_ANSWERS", self.path("answers"))
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&run.stdout);
        assert!(
            run.status.success(),
            "{environment:?}: {:?} {output} {}",
            run.status,
            String::from_utf8_lossy(&run.stderr)
        );
        fs::read_to_string(self.path("output")).unwrap()
    }

    /// The stored plans.
    pub fn plans(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("plans")).into_iter().flatten();
        let files = entries.map(|entry| entry.unwrap().path());
        files
            .filter(|file| file.extension().is_some_and(|e| e == "plan"))
            .collect()
    }

    /// The sizes of the timing caches. The stand-in's cache grows by one byte with each build.
    pub fn times(&self) -> Vec<u64> {
        let entries = fs::read_dir(self.path("plans")).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        files
            .filter(|file| file.extension().is_some_and(|e| e == "cache"))
            .map(|file| fs::metadata(file).unwrap().len())
            .collect()
    }

    /// Deletes the plans and timing caches.
    pub fn forget(&self) {
        let _ = fs::remove_dir_all(self.path("plans"));
        let _ = fs::remove_file(self.path("plans"));
    }
}

/// Sets the permissions of a file or folder, whatever the umask is.
pub fn mode(place: &Path, mode: u32) {
    fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
}

/// Writes 36 different pictures with patterns of shades.
fn frames(folder: &Path) {
    fs::create_dir(folder).unwrap();
    for number in 0..36_u32 {
        let picture = image::RgbImage::from_fn(200, 66, |x, y| {
            let shade = |k: u32| ((x * (k + 1) + y * (number % 7 + 1) + number * 29) % 256) as u8;
            image::Rgb([shade(0), shade(1), shade(2)])
        });
        picture.save(folder.join(format!("{number}.png"))).unwrap();
    }
}
