//! Engines that are compiled in, and engines in files.

pub mod builder;
pub(crate) mod embedded;
mod fallback;
mod fit;
pub mod gpu;
mod process;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pilotage_engine::{
    Bundle, BundleError, CpuEngine, CpuError, CpuOptions, Engine, FrameSize, InputRules,
};
use pilotage_gpu::TensorRtPaths;
use pilotage_vehicle::Domain;
use pilotage_vision::Preprocess;
use serde::Deserialize;
use tensorrt_rs::RunOptions;

use crate::car::{Backend, Car, EngineSource, OnGpuFailure};
use crate::pilot::{DecodeError, Decoder};
use crate::signature::{self, Signature, SignatureError, Trust};

pub use embedded::{Unknown, compiled_in, names};
pub use fallback::{Backoff, Fallback, OtherPorts};
pub use fit::Misfit;
pub(crate) use fit::fit_camera;
pub use process::{Limits as ProcessLimits, NotStarted, ProcessEngine, serve};

/// An engine ready to run, with what its file describes.
pub struct Loaded {
    /// The engine's name.
    pub name: String,
    /// Runs the network.
    pub engine: Box<dyn Engine>,
    /// Converts a frame to the engine's input.
    pub preprocess: Preprocess,
    /// Converts the engine's outputs to controls.
    pub decoder: Decoder,
    /// What the engine gets besides the present picture.
    pub rules: InputRules,
    /// Where the engine may drive.
    pub domain: Domain,
    /// The size of the frames that the engine was compiled with, if it is known.
    pub frame_size: Option<FrameSize>,
    /// What an operator should know before the engine drives.
    pub notes: Vec<String>,
}

/// An engine's bytes, and the result of the signature check.
pub struct Fetched {
    /// The compiled-in engine's name, or the file's.
    pub name: String,
    /// The bytes, not yet parsed.
    pub bytes: Cow<'static, [u8]>,
    /// The signature of exactly these bytes.
    pub signature: Result<Signature, SignatureError>,
}

/// Why an engine cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No engine of this name was compiled in.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The file cannot be read.
    #[error("{path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// The system's error.
        reason: io::Error,
    },
    /// The file is longer than an engine may be.
    #[error("{path}: longer than any engine ({LONGEST_FILE} bytes); is it the right file?")]
    TooLong {
        /// The file.
        path: String,
    },
    /// The signature is not accepted.
    #[error("engine `{name}`: {reason}")]
    Signature {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: SignatureError,
    },
    /// The recipe's rules for the inputs are malformed.
    #[error(
        "engine `{name}`: its recipe's `memory`, `measurement`, `command` or `scan` is malformed ({reason}); compile \
         it again"
    )]
    Rules {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: serde_json::Error,
    },
    /// The bytes are not a valid engine file.
    #[error("engine `{name}`: {reason}")]
    Bundle {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: BundleError,
    },
    /// The manifest's preprocessing is not valid.
    #[error("engine `{name}`: its preprocessing cannot be used ({reason}); compile it again")]
    Preprocessing {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: serde_json::Error,
    },
    /// The outputs cannot be decoded to controls.
    #[error("engine `{name}`: {reason}")]
    Outputs {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: DecodeError,
    },
    /// The GPU cannot run the engine, and there is no fallback.
    #[error(
        "engine `{name}` cannot run on the GPU: {reason}; `pilotage doctor` says what this \
         machine lacks, and `fallback = \"cpu\"` in car.toml lets the CPU drive"
    )]
    Gpu {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: Box<NotStarted>,
    },
    /// The ports of the GPU's engine differ from the ports of the CPU's.
    #[error("engine `{name}`: {reason}")]
    Fallback {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: OtherPorts,
    },
    /// The plan cannot run on this machine's CPU.
    #[error("engine `{name}`: {reason}")]
    Cpu {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: CpuError,
    },
}

/// How much longer the caller waits for the GPU's process than that process waits for the GPU.
const GRACE: Duration = Duration::from_millis(2);

/// The longest engine file, bytes.
const LONGEST_FILE: u64 = 1 << 30;

/// Reads an engine's bytes once, and checks them with `trust` against the signature beside the
/// file. A compiled-in engine needs no signature.
///
/// # Errors
/// Fails if the engine does not exist or cannot be read.
pub fn fetch(source: &EngineSource, trust: &Trust) -> Result<Fetched, LoadError> {
    match source {
        EngineSource::BuiltIn(name) => Ok(Fetched {
            name: name.clone(),
            bytes: compiled_in(name)?.into(),
            signature: Ok(Signature::CompiledIn),
        }),
        EngineSource::File(path) => {
            let failed = |path: &Path, reason| LoadError::Read {
                path: path.display().to_string(),
                reason,
            };
            let bytes = read(path, LONGEST_FILE).map_err(|reason| failed(path, reason))?;
            if bytes.len() as u64 > LONGEST_FILE {
                return Err(LoadError::TooLong {
                    path: path.display().to_string(),
                });
            }
            let beside = signature::path(path);
            let signature = match read(&beside, signature::LONGEST_FILE) {
                Ok(signature) => Some(signature),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(reason) => return Err(failed(&beside, reason)),
            };
            Ok(Fetched {
                name: path.display().to_string(),
                signature: trust.check(&bytes, signature.as_deref()),
                bytes: bytes.into(),
            })
        }
    }
}

/// Loads the car's engine for the backend that the car selects.
///
/// # Errors
/// Fails if the engine does not exist, its signature is not accepted, it is not valid, or it cannot
/// run on this machine.
pub fn load(car: &Car) -> Result<Loaded, LoadError> {
    load_with(car, &GpuSetup::default())
}

/// Where the GPU's engine comes from.
#[derive(Debug, Clone, Default)]
pub struct GpuSetup {
    /// The folders of TensorRT, its shims and its plans.
    pub places: TensorRtPaths,
    /// The program `pilotage`, which runs the engine's process. `None`: this program's file.
    pub program: Option<PathBuf>,
}

impl GpuSetup {
    /// Starts a process that loads the plan of the engine file `file` and runs it with `options`.
    ///
    /// # Errors
    /// Fails if there is no plan, or the engine is not ready within the limit.
    pub fn start(
        &self,
        file: &[u8],
        options: RunOptions,
        limits: ProcessLimits,
    ) -> Result<ProcessEngine, NotStarted> {
        let order =
            gpu::order(&self.places, options).map_err(|error| NotStarted::System(error.into()))?;
        let setup = self.clone();
        ProcessEngine::start(move || setup.command_for(gpu::COMMAND), order, file, limits)
    }

    /// The command that runs a hidden subcommand of Pilotage: with this program's file, also if another
    /// version has been installed since.
    fn command_for(&self, subcommand: &str) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = match &self.program {
            None => {
                let mut command = Command::new("/proc/self/exe");
                command.arg0("pilotage");
                command
            }
            Some(program) => Command::new(program),
        };
        command.arg(subcommand);
        command
    }
}

/// As [`load`], with the GPU's engine from `setup`: for tests, which have no GPU and are not the
/// program `pilotage`.
///
/// # Errors
/// As [`load`].
pub fn load_with(car: &Car, setup: &GpuSetup) -> Result<Loaded, LoadError> {
    let Fetched {
        name,
        bytes,
        signature,
    } = fetch(&car.engine, &car.trust)?;
    if let Err(reason) = signature {
        return Err(LoadError::Signature { name, reason });
    }
    let (bundle, preprocess) = parse(&name, &bytes)?;
    let manifest = &bundle.manifest;
    let decoder = Decoder::of(manifest).map_err(|reason| LoadError::Outputs {
        name: name.clone(),
        reason,
    })?;
    let mut notes = Vec::new();
    Ok(Loaded {
        engine: engine(&name, &bytes, &bundle, car, setup, &mut notes)?,
        name: manifest.name.clone(),
        preprocess,
        decoder,
        rules: manifest.input_rules().map_err(|reason| LoadError::Rules {
            name: name.clone(),
            reason,
        })?,
        domain: manifest.domain,
        frame_size: manifest.frame_size,
        notes,
    })
}

/// The content of the engine file of `name`, and how that engine converts a frame.
fn parse(name: &str, bytes: &[u8]) -> Result<(Bundle, Preprocess), LoadError> {
    let name = || name.to_owned();
    let bundle = Bundle::read(bytes).map_err(|reason| LoadError::Bundle {
        name: name(),
        reason,
    })?;
    let preprocess = Preprocess::deserialize(&bundle.manifest.preprocessing);
    let preprocess = preprocess.map_err(|reason| LoadError::Preprocessing {
        name: name(),
        reason,
    })?;
    Ok((bundle, preprocess))
}

/// The engine on the CPU, on the GPU, or on the GPU with the CPU as fallback.
fn engine(
    name: &str,
    bytes: &[u8],
    bundle: &Bundle,
    car: &Car,
    setup: &GpuSetup,
    notes: &mut Vec<String>,
) -> Result<Box<dyn Engine>, LoadError> {
    let cpu = || {
        let options = CpuOptions {
            threads: car.threads,
            instruction_set: car.instruction_set,
            ..CpuOptions::default()
        };
        CpuEngine::new(&bundle.plan, options).map_err(|reason| LoadError::Cpu {
            name: name.to_owned(),
            reason,
        })
    };
    let Backend::TensorRt {
        limit,
        on_failure,
        gpu,
    } = car.backend
    else {
        return Ok(Box::new(cpu()?));
    };
    let options = RunOptions {
        limit,
        transfer: gpu.transfer,
        wait: gpu.wait,
        ..RunOptions::default()
    };
    // NVIDIA's libraries are only called in a process of their own: a call that hangs or crashes
    // neither blocks nor ends the pilot.
    let limits = ProcessLimits {
        start: gpu.start,
        answer: limit + GRACE,
        wait: gpu.wait,
    };
    let started = setup.start(bytes, options, limits);
    match (started, on_failure) {
        (Ok(gpu), OnGpuFailure::Stop) => Ok(Box::new(gpu)),
        (Ok(gpu), OnGpuFailure::Cpu) => {
            let joined = Fallback::new(Box::new(gpu), Box::new(cpu()?), Backoff::default());
            let joined = joined.map_err(|reason| LoadError::Fallback {
                name: name.to_owned(),
                reason,
            })?;
            Ok(Box::new(joined))
        }
        (Err(error), OnGpuFailure::Cpu) => {
            notes.push(format!(
                "the CPU drives, not the GPU: {error}; `pilotage doctor` says what this machine \
                 lacks"
            ));
            Ok(Box::new(cpu()?))
        }
        (Err(reason), OnGpuFailure::Stop) => Err(LoadError::Gpu {
            name: name.to_owned(),
            reason: Box::new(reason),
        }),
    }
}

/// Reads a file's bytes; of a file longer than `limit`, only one byte more than the limit.
fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
