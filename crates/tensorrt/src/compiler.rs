//! Compiling the shim against the headers of the TensorRT that is there, as DKMS does for kernel
//! modules: NVIDIA's headers are not ours to carry.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::NamedTempFile;

use crate::shim::{checksum, checksum_file};
use crate::version::{Product, Version};

const SOURCE: &str = include_str!("../shim/shim.cpp");
const MESSAGES: &str = include_str!("../shim/messages.h");
const INTERFACE: &str = include_str!("../shim/shim.h");
/// The few names of CUDA's header that TensorRT's own need, for where there is no CUDA toolkit.
pub const CUDA_HEADERS: &str = include_str!("../shim/stand-in/cuda_runtime_api.h");

/// Why there is no shim.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShimError {
    /// No headers.
    #[error(
        "no TensorRT headers ({} not found); install the Debian packages libnvinfer-headers-dev \
         and libnvonnxparsers-dev, or set TENSORRT_INCLUDE to the folder of NvInfer.h",
        .tried.join(", ")
    )]
    NoHeaders {
        /// The files looked for.
        tried: Vec<String>,
    },
    /// Headers of no version.
    #[error("{}: {reason}", .file.display())]
    BadHeaders {
        /// The header.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No compiler.
    #[error("no C++ compiler ({command}: {reason}); install the Debian package g++, or set CXX")]
    NoCompiler {
        /// The command tried.
        command: String,
        /// Why it did not start.
        reason: String,
    },
    /// The compiler refused.
    #[error("the shim does not compile against {}:\n{output}", .headers.display())]
    Compile {
        /// The folder of NvInfer.h.
        headers: PathBuf,
        /// What the compiler said.
        output: String,
    },
    /// The file cannot be written.
    #[error("{}: {reason}", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Headers of one version of TensorRT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    /// The folder of NvInfer.h and NvOnnxParser.h.
    pub folder: PathBuf,
}

/// The folders that JetPack, Debian's packages and NVIDIA's archives put the headers in.
const PLACES: [&str; 5] = [
    "/usr/include/aarch64-linux-gnu",
    "/usr/include/x86_64-linux-gnu",
    "/usr/include",
    "/usr/local/include",
    "/usr/local/TensorRT/include",
];

/// Every folder with TensorRT's headers: of `given`, then `TENSORRT_INCLUDE`, then the system's.
///
/// # Errors
/// When there is none, or one of `given` has none.
pub fn find_headers(given: &[PathBuf]) -> Result<Vec<Headers>, ShimError> {
    let wanted = |folder: &Path| ["NvInfer.h", "NvOnnxParser.h"].map(|name| folder.join(name));
    let missing = |folder: &Path| wanted(folder).into_iter().find(|file| !file.is_file());
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
    let (found, missing): (Vec<_>, Vec<_>) = PLACES
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

/// What the C++ compiler's warnings are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warnings {
    /// Errors: for whoever works on the shim.
    Denied,
    /// No reason to be without a shim: headers and compilers that nobody has tried have their own.
    Allowed,
}

/// Compiles the shim for `headers` into `folder`, and gives its path: its name says the version.
/// It is written whole or not at all. Its SHA-256 goes beside it, first: where the power fails
/// between the two, the old shim no longer has its own checksum, is not opened, and is compiled
/// anew.
///
/// # Errors
/// When there is no compiler, it refuses, or the folder cannot be written.
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
    for (name, content) in [
        ("shim.cpp", SOURCE),
        ("messages.h", MESSAGES),
        ("shim.h", INTERFACE),
        ("stand-in/cuda_runtime_api.h", CUDA_HEADERS),
        ("version.cpp", VERSION_PROBE),
    ] {
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
            // TensorRT 10.5 to 10.11 deprecate what they have no other way for.
            .arg("-Wno-deprecated-declarations")
            .arg("-pthread")
            // One pointer, within reach without the loader's help.
            .arg("-ftls-model=initial-exec")
            // Nothing of C++ crosses the border, and no C++ library has to be of one's own version.
            .args(["-static-libstdc++", "-static-libgcc"])
            .args(["-Wl,--exclude-libs,ALL", "-Wl,-z,defs", "-o"])
            .arg(&built)
            .arg(sources.path().join("shim.cpp")),
    )?;

    let content = fs::read(&built).map_err(|error| unwritable(&built, &error))?;
    let path = folder.join(file);
    // The checksum goes first: a shim without its own is never opened.
    for (path, content) in [
        (checksum_file(&path), checksum(&content).as_bytes()),
        (path.clone(), &content),
    ] {
        write_whole(&path, content).map_err(|error| unwritable(&path, &error))?;
    }
    Ok(path)
}

/// Prints the version as the preprocessor sees it: `8.5.2` or `rtx 1.7.1`.
const VERSION_PROBE: &str = "#include <NvInferVersion.h>\n\
    #if defined(TRT_MAJOR_RTX) && !defined(TRT_MAJOR_ENTERPRISE)\n\
    PILOTAGE rtx NV_TENSORRT_MAJOR NV_TENSORRT_MINOR NV_TENSORRT_PATCH\n\
    #else\n\
    PILOTAGE tensorrt NV_TENSORRT_MAJOR NV_TENSORRT_MINOR NV_TENSORRT_PATCH\n\
    #endif\n";

/// The file name of the shim that `headers` would give.
///
/// # Errors
/// When there is no compiler, or they do not say their version.
pub(crate) fn shim_file(headers: &Headers) -> Result<String, ShimError> {
    let sources = tempfile::tempdir().map_err(|error| ShimError::Write {
        path: std::env::temp_dir(),
        reason: error.to_string(),
    })?;
    let path = sources.path().join("version.cpp");
    fs::write(&path, VERSION_PROBE).map_err(|error| ShimError::Write {
        path,
        reason: error.to_string(),
    })?;
    shim_name(headers, sources.path())
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
        .find_map(|line| line.strip_prefix("PILOTAGE "))
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
    // NV_TENSORRT_VERSION: 8.x kept a digit less.
    let step = if product == Product::TensorRt && major < 10 {
        1000
    } else {
        10_000
    };
    let version = Version {
        product,
        number: major * step + minor * 100 + patch,
    };
    Ok(version.shim_file())
}

fn compiler(headers: &Headers, sources: &Path) -> Command {
    let mut command = Command::new(compiler_name());
    command.arg("-std=c++14");
    // Where the compiler looks by itself, and in its own order: put before C++'s folders,
    // /usr/include hides C's headers from them.
    if headers.folder != Path::new("/usr/include") {
        command.arg("-isystem").arg(&headers.folder);
    }
    // A toolkit's own header goes before the stand-in.
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

/// Runs a compiler and gives what it printed.
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

/// Makes a folder, and those above it, that only the present user can write, whatever the umask.
pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
}

/// Writes a file so that a power cut leaves the old one or the new one: a temporary file beside
/// it, synced, renamed over it, and the folder synced.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut temporary = NamedTempFile::new_in(folder)?;
    temporary.write_all(content)?;
    temporary
        .as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}
