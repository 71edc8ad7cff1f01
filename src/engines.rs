//! The engines that were compiled in, and those in files.

mod apart;
mod fallback;

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::time::Duration;

use pilotage_engine::{Bundle, BundleError, CpuEngine, CpuError, CpuOptions, Engine};
use pilotage_guard::Domain;
use pilotage_tensorrt::{EngineOptions, Places, PrepareError};
use pilotage_vision::Preprocess;
use serde::Deserialize;

use crate::car::{Backend, Car, EngineSource, OnGpuFailure};
use crate::pilot::{DecodeError, Decoder};
use crate::signature::{self, Signature, SignatureError, Trust};

pub use apart::{Apart, Limits as ApartLimits, NotStarted};
pub use fallback::{Backoff, Fallback, OtherPorts};

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/engines.rs"));
}

/// An engine ready to run, and what its file says about it.
pub struct Loaded {
    /// Its name.
    pub name: String,
    /// Runs the network.
    pub engine: Box<dyn Engine>,
    /// How a frame becomes its input.
    pub preprocess: Preprocess,
    /// What its outputs mean.
    pub decoder: Decoder,
    /// Where it may drive.
    pub domain: Domain,
    /// What a person should know before it drives.
    pub notes: Vec<String>,
}

/// An engine's bytes, and what is known of who made them.
pub struct Fetched {
    /// The compiled-in engine's name, or the file's.
    pub name: String,
    /// As they are in the program or were in the file, not yet looked at.
    pub bytes: Cow<'static, [u8]>,
    /// Of these very bytes.
    pub signature: Result<Signature, SignatureError>,
}

/// No such engine was compiled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no compiled-in engine `{name}`: {}", hint(name))]
pub struct Unknown {
    /// What was asked for.
    pub name: String,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No such engine was compiled in.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The file cannot be read.
    #[error("{path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// The system's word on it.
        reason: io::Error,
    },
    /// The file is longer than an engine may be.
    #[error("{path}: longer than any engine ({LONGEST_FILE} bytes); is it the right file?")]
    TooLong {
        /// The file.
        path: String,
    },
    /// Its signature does not let it be used.
    #[error("engine `{name}`: {reason}")]
    Signature {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: SignatureError,
    },
    /// The bytes are not a sound engine file.
    #[error("engine `{name}`: {reason}")]
    Bundle {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: BundleError,
    },
    /// The manifest's preprocessing is not sound.
    #[error("engine `{name}`: its preprocessing cannot be used ({reason}); compile it again")]
    Preprocessing {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: serde_json::Error,
    },
    /// The outputs make no controls.
    #[error("engine `{name}`: {reason}")]
    Outputs {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: DecodeError,
    },
    /// The GPU cannot run it, and nothing else may.
    #[error(
        "engine `{name}` cannot run on the GPU: {reason}; `pilotage doctor` says what this \
         machine lacks, and `fallback = \"cpu\"` in car.toml lets the CPU drive"
    )]
    Gpu {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: Box<NotStarted<PrepareError>>,
    },
    /// The GPU's engine does not fit the CPU's.
    #[error("engine `{name}`: {reason}")]
    Fallback {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: OtherPorts,
    },
    /// The plan cannot run here.
    #[error("engine `{name}`: {reason}")]
    Cpu {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: CpuError,
    },
}

/// How much longer the GPU's thread is waited for than it waits for the GPU.
const GRACE: Duration = Duration::from_millis(2);

/// A longer file is no engine, bytes.
const LONGEST_FILE: u64 = 1 << 30;

/// Names of the compiled-in engines.
pub fn names() -> impl Iterator<Item = &'static str> {
    embedded::ENGINES.iter().map(|(name, _)| *name)
}

/// What an unknown name may have meant.
fn hint(name: &str) -> String {
    match pilotage_config::nearest(name, names()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("there is {}", names().collect::<Vec<_>>().join(", ")),
    }
}

/// The file of the compiled-in engine `name`.
///
/// # Errors
/// When there is none.
pub fn compiled_in(name: &str) -> Result<&'static [u8], Unknown> {
    let found = embedded::ENGINES.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, bytes)| *bytes)
        .ok_or_else(|| Unknown { name: name.into() })
}

/// An engine's bytes, read once, and what `trust` says to the signature beside the
/// file. A compiled-in engine needs none.
///
/// # Errors
/// When it is not there or cannot be read.
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

/// Loads the car's engine for what the car says is to run it.
///
/// # Errors
/// When it is not there, not signed as the car wants it, not sound, or cannot run
/// here.
pub fn load(car: &Car) -> Result<Loaded, LoadError> {
    load_with(car, &Places::default())
}

/// As [`load`], with TensorRT's parts where `places` says: for tests, which have no GPU.
///
/// # Errors
/// As [`load`].
pub fn load_with(car: &Car, places: &Places) -> Result<Loaded, LoadError> {
    let Fetched {
        name,
        bytes,
        signature,
    } = fetch(&car.engine, &car.trust)?;
    if let Err(reason) = signature {
        return Err(LoadError::Signature { name, reason });
    }
    let bundle = Bundle::read(&bytes).map_err(|reason| LoadError::Bundle {
        name: name.clone(),
        reason,
    })?;
    let manifest = &bundle.manifest;
    let preprocess = Preprocess::deserialize(&manifest.preprocessing).map_err(|reason| {
        LoadError::Preprocessing {
            name: name.clone(),
            reason,
        }
    })?;
    let decoder = Decoder::new(&manifest.outputs).map_err(|reason| LoadError::Outputs {
        name: name.clone(),
        reason,
    })?;
    let mut notes = Vec::new();
    Ok(Loaded {
        engine: engine(&name, &bundle, car, places, &mut notes)?,
        name: manifest.name.clone(),
        preprocess,
        decoder,
        domain: match manifest.domain {
            pilotage_engine::Domain::Simulated => Domain::Simulated,
            pilotage_engine::Domain::Physical => Domain::Physical,
        },
        notes,
    })
}

/// The engine on the CPU, on the GPU, or on the one with the other behind it.
fn engine(
    name: &str,
    bundle: &Bundle,
    car: &Car,
    places: &Places,
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
    let options = EngineOptions {
        limit,
        transfer: gpu.transfer,
        wait: gpu.wait,
        ..EngineOptions::default()
    };
    // All of NVIDIA's is called from a thread of its own: a call that hangs does not take the pilot
    // along.
    let limits = ApartLimits {
        start: gpu.start,
        answer: limit + GRACE,
        wait: gpu.wait,
    };
    let (own, places) = (bundle.clone(), places.clone());
    let make = move || pilotage_tensorrt::load(&own, &places, options).map(|proven| proven.engine);
    let proven = Apart::start(make, limits);
    match (proven, on_failure) {
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

/// A file's bytes; of a file longer than `limit`, one byte more than that.
fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
