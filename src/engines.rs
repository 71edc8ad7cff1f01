//! The engines that were compiled in, and those in files.

mod fallback;

use std::borrow::Cow;
use std::io;
use std::path::Path;

use pilotage_engine::{Bundle, BundleError, CpuEngine, CpuError, CpuOptions, Engine};
use pilotage_guard::Domain;
use pilotage_vision::Preprocess;

use crate::car::{Car, EngineSource};
use crate::pilot::{DecodeError, Decoder};
use crate::signature::{self, Signature, SignatureError, Trust};

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
    /// The plan cannot run here.
    #[error("engine `{name}`: {reason}")]
    Cpu {
        /// The engine.
        name: String,
        /// What is wrong.
        reason: CpuError,
    },
}

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

/// Loads the car's engine for the CPU.
///
/// # Errors
/// When it is not there, not signed as the car wants it, not sound, or cannot run
/// here.
pub fn load(car: &Car) -> Result<Loaded, LoadError> {
    let Fetched {
        name,
        bytes,
        signature,
    } = fetch(&car.engine, &car.trust)?;
    match signature {
        Ok(_) => {
            let options = CpuOptions {
                threads: car.threads,
                instruction_set: car.instruction_set,
                ..CpuOptions::default()
            };
            from_bytes(&name, &bytes, options)
        }
        Err(reason) => Err(LoadError::Signature { name, reason }),
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

fn from_bytes(name: &str, bytes: &[u8], options: CpuOptions) -> Result<Loaded, LoadError> {
    let name = name.to_owned();
    let bundle = Bundle::read(bytes).map_err(|reason| LoadError::Bundle {
        name: name.clone(),
        reason,
    })?;
    let preprocess: Preprocess =
        serde_json::from_value(bundle.manifest.preprocessing).map_err(|reason| {
            LoadError::Preprocessing {
                name: name.clone(),
                reason,
            }
        })?;
    let decoder = Decoder::new(&bundle.manifest.outputs).map_err(|reason| LoadError::Outputs {
        name: name.clone(),
        reason,
    })?;
    let engine = CpuEngine::new(&bundle.plan, options).map_err(|reason| LoadError::Cpu {
        name: name.clone(),
        reason,
    })?;
    Ok(Loaded {
        name: bundle.manifest.name,
        engine: Box::new(engine),
        preprocess,
        decoder,
        domain: match bundle.manifest.domain {
            pilotage_engine::Domain::Simulated => Domain::Simulated,
            pilotage_engine::Domain::Physical => Domain::Physical,
        },
    })
}
