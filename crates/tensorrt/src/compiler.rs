//! Compiles the shim against the headers of the installed TensorRT, as DKMS does for kernel
//! modules. NVIDIA's headers may not be redistributed here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shim::{checksum, checksum_file};
use crate::trust::{create_folder, write_whole};
use crate::version::{Product, Version};

/// The shim's source: one C++ file, and what it includes.
const SOURCES: [(&str, &str); 7] = [
    ("shim.cpp", include_str!("../shim/shim.cpp")),
    ("shim.h", include_str!("../shim/shim.h")),
    ("configuration.h", include_str!("../shim/configuration.h")),
    ("messages.h", include_str!("../shim/messages.h")),
    ("product.h", include_str!("../shim/product.h")),
    ("progress.h", include_str!("../shim/progress.h")),
    ("tensors.h", include_str!("../shim/tensors.h")),
];
/// A substitute for CUDA's header on machines without a CUDA toolkit: the few names that
/// TensorRT's headers need.
pub const CUDA_HEADERS: &str = include_str!("../shim/stand-in/cuda_runtime_api.h");

/// Why there is no shim.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShimError {
    /// No TensorRT headers were found.
    #[error(
        "no TensorRT headers ({} not found); install the Debian packages libnvinfer-headers-dev \
         and libnvonnxparsers-dev (before TensorRT 8.6: libnvinfer-dev and libnvonnxparsers-dev), \
         or set TENSORRT_INCLUDE to the folder of NvInfer.h",
        .tried.join(", ")
    )]
    NoHeaders {
        /// The files looked for.
        tried: Vec<String>,
    },
    /// The headers do not define their version.
    #[error("{}: {reason}", .file.display())]
    BadHeaders {
        /// The header.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The C++ compiler could not be started.
    #[error("no C++ compiler ({command}: {reason}); install the Debian package g++, or set CXX")]
    NoCompiler {
        /// The command tried.
        command: String,
        /// Why it did not start.
        reason: String,
    },
    /// The compiler reported an error.
    #[error("the shim does not compile against {}:\n{output}", .headers.display())]
    Compile {
        /// The folder of NvInfer.h.
        headers: PathBuf,
        /// The compiler's messages.
        output: String,
    },
    /// A file cannot be written.
    #[error("{}: {reason}", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error, and a hint.
        reason: String,
    },
}

/// Headers of one version of TensorRT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    /// The folder of NvInfer.h and NvOnnxParser.h.
    pub folder: PathBuf,
}

/// The folders where JetPack, Debian's packages and NVIDIA's archives install the headers.
const HEADER_FOLDERS: [&str; 5] = [
    "/usr/include/aarch64-linux-gnu",
    "/usr/include/x86_64-linux-gnu",
    "/usr/include",
    "/usr/local/include",
    "/usr/local/TensorRT/include",
];

/// Finds the folders with TensorRT's headers: all of `given` if it is not empty; otherwise
/// `TENSORRT_INCLUDE` if it is set; otherwise those of the system's folders that have them.
///
/// # Errors
/// When no folder has the headers, or one of `given` lacks them.
pub fn find_headers(given: &[PathBuf]) -> Result<Vec<Headers>, ShimError> {
    let required = |folder: &Path| ["NvInfer.h", "NvOnnxParser.h"].map(|name| folder.join(name));
    let missing = |folder: &Path| required(folder).into_iter().find(|file| !file.is_file());
    let headers = |folder: &Path| Headers {
        folder: folder.to_owned(),
    };
    let no_headers = |files: Vec<PathBuf>| ShimError::NoHeaders {
        tried: files
            .iter()
            .map(|file| file.display().to_string())
            .collect(),
    };
    if !given.is_empty() {
        return given
            .iter()
            .map(|folder| match missing(folder) {
                None => Ok(headers(folder)),
                Some(file) => Err(no_headers(vec![file])),
            })
            .collect();
    }
    if let Some(folder) = std::env::var_os("TENSORRT_INCLUDE").map(PathBuf::from) {
        return match missing(&folder) {
            None => Ok(vec![headers(&folder)]),
            Some(file) => Err(no_headers(vec![file])),
        };
    }
    let (found, missing): (Vec<_>, Vec<_>) = HEADER_FOLDERS
        .iter()
        .map(|folder| (Path::new(folder), missing(Path::new(folder))))
        .partition(|(_, missing)| missing.is_none());
    if found.is_empty() {
        return Err(no_headers(
            missing.into_iter().filter_map(|(_, file)| file).collect(),
        ));
    }
    Ok(found.iter().map(|(folder, _)| headers(folder)).collect())
}

/// How the C++ compiler's warnings are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warnings {
    /// Warnings are errors: for the development of the shim.
    Denied,
    /// Warnings are ignored: untested headers and compilers may cause some.
    Allowed,
}

/// Compiles the shim for `headers` into `folder` and returns its path. The file name contains the
/// version of TensorRT.
///
/// The shim and its SHA-256 are each written atomically, the SHA-256 first. After a power failure
/// between the two writes the old shim does not match the new checksum: it is not opened, and is
/// compiled again.
///
/// # Errors
/// When there is no compiler, the compiler reports an error, the headers do not define their
/// version, or the folder cannot be written.
pub fn compile_shim(
    headers: &Headers,
    folder: &Path,
    warnings: Warnings,
) -> Result<PathBuf, ShimError> {
    let unwritable = |path: &Path, error: &io::Error| ShimError::Write {
        path: path.to_owned(),
        reason: match error.kind() {
            io::ErrorKind::PermissionDenied => format!("{error}; run this as root (sudo)"),
            _ => error.to_string(),
        },
    };
    create_folder(folder).map_err(|error| unwritable(folder, &error))?;
    let sources = tempfile::tempdir().map_err(|error| unwritable(Path::new("/tmp"), &error))?;
    let probes = [
        ("stand-in/cuda_runtime_api.h", CUDA_HEADERS),
        ("version.cpp", VERSION_PROBE),
    ];
    for (name, content) in SOURCES.into_iter().chain(probes) {
        let path = sources.path().join(name);
        let parent = path.parent().unwrap_or(sources.path());
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, content))
            .map_err(|error| unwritable(&path, &error))?;
    }

    let file = shim_name(headers, sources.path())?;
    let built = sources.path().join("shim.so");
    run(
        headers,
        compiler(headers, sources.path())
            .args([
                "-O2",
                "-fPIC",
                "-shared",
                "-fvisibility=hidden",
                "-fno-rtti",
            ])
            .args(["-Wall", "-Wextra"])
            .args((warnings == Warnings::Denied).then_some("-Werror"))
            // TensorRT 10.5 to 10.11 deprecate functions without providing a replacement.
            .arg("-Wno-deprecated-declarations")
            .arg("-pthread")
            // The shim's interface is C, so the C++ runtime is linked statically. The shim then
            // does not depend on the version of the system's C++ library.
            .args(["-static-libstdc++", "-static-libgcc"])
            .args(["-Wl,--exclude-libs,ALL", "-Wl,-z,defs", "-o"])
            .arg(&built)
            .arg(sources.path().join("shim.cpp")),
    )?;

    let content = fs::read(&built).map_err(|error| unwritable(&built, &error))?;
    let path = folder.join(file);
    // The checksum is written first: a shim that does not match its checksum is never opened.
    for (path, content) in [
        (checksum_file(&path), checksum(&content).as_bytes()),
        (path.clone(), &content),
    ] {
        write_whole(&path, content).map_err(|error| unwritable(&path, &error))?;
    }
    Ok(path)
}

/// Expands under the preprocessor to one line with product and version, for example
/// `TENSORRT_RS tensorrt 8 5 2` or `TENSORRT_RS rtx 1 7 1`.
const VERSION_PROBE: &str = "#include <NvInferVersion.h>\n\
    #if defined(TRT_MAJOR_RTX) && !defined(TRT_MAJOR_ENTERPRISE)\n\
    TENSORRT_RS rtx NV_TENSORRT_MAJOR NV_TENSORRT_MINOR NV_TENSORRT_PATCH\n\
    #else\n\
    TENSORRT_RS tensorrt NV_TENSORRT_MAJOR NV_TENSORRT_MINOR NV_TENSORRT_PATCH\n\
    #endif\n";

impl Headers {
    /// The file name of a shim that is compiled against these headers.
    ///
    /// # Errors
    /// When there is no compiler, or the headers do not define their version.
    pub fn shim_file(&self) -> Result<String, ShimError> {
        let sources = tempfile::tempdir().map_err(|error| ShimError::Write {
            path: std::env::temp_dir(),
            reason: error.to_string(),
        })?;
        let path = sources.path().join("version.cpp");
        fs::write(&path, VERSION_PROBE).map_err(|error| ShimError::Write {
            path,
            reason: error.to_string(),
        })?;
        shim_name(self, sources.path())
    }
}

fn shim_name(headers: &Headers, sources: &Path) -> Result<String, ShimError> {
    let output = run(
        headers,
        compiler(headers, sources)
            .args(["-E", "-P"])
            .arg(sources.join("version.cpp")),
    )?;
    let words: Vec<_> = output
        .lines()
        .find_map(|line| line.strip_prefix("TENSORRT_RS "))
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let bad = || ShimError::BadHeaders {
        file: headers.folder.join("NvInferVersion.h"),
        reason: "it does not say TensorRT's version".into(),
    };
    let [product, major, minor, patch] = words.as_slice() else {
        return Err(bad());
    };
    let number = |word: &str| word.parse::<i32>().ok().filter(|n| (0..1000).contains(n));
    let (Some(major), Some(minor), Some(patch)) = (number(major), number(minor), number(patch))
    else {
        return Err(bad());
    };
    let product = match *product {
        "rtx" => Product::TensorRtRtx,
        _ => Product::TensorRt,
    };
    // Before version 10 the number (NV_TENSORRT_VERSION) has one digit for the minor version
    // instead of two.
    let step = if product == Product::TensorRt && major < 10 {
        1000
    } else {
        10_000
    };
    let version = Version {
        product,
        number: major * step + minor * 100 + patch,
    };
    match version.product == Product::TensorRt && version.number < FIRST_OF_TENSORRT_8_2 {
        false => Ok(version.shim_file()),
        true => Err(ShimError::BadHeaders {
            file: headers.folder.join("NvInferVersion.h"),
            reason: format!(
                "they are of {version}, and 8.2 (JetPack 4.6.1) is the first version that can be used"
            ),
        }),
    }
}

/// [`Version::number`] of TensorRT 8.2.0.
const FIRST_OF_TENSORRT_8_2: i32 = 8_200;

fn compiler(headers: &Headers, sources: &Path) -> Command {
    let mut command = Command::new(compiler_name());
    command.arg("-std=c++14");
    // The compiler searches /usr/include by default. Named explicitly it would precede the C++
    // folders, and their #include_next would not find the C headers.
    if headers.folder != Path::new("/usr/include") {
        command.arg("-isystem").arg(&headers.folder);
    }
    // The header of a CUDA toolkit takes precedence over the stand-in.
    let toolkit = Path::new("/usr/local/cuda/include");
    if toolkit.join("cuda_runtime_api.h").is_file() {
        command.arg("-isystem").arg(toolkit);
    }
    command.arg("-isystem").arg(sources.join("stand-in"));
    command
}

fn compiler_name() -> String {
    std::env::var("CXX").unwrap_or_else(|_| "c++".into())
}

/// Runs a compiler and returns its standard output.
fn run(headers: &Headers, command: &mut Command) -> Result<String, ShimError> {
    let output = command.output().map_err(|error| ShimError::NoCompiler {
        command: compiler_name(),
        reason: error.to_string(),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(ShimError::Compile {
        headers: headers.folder.clone(),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
