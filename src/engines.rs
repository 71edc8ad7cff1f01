//! The engines that were compiled in, and those in files.

use std::path::Path;

use pilotage_engine::{Bundle, BundleError, CpuEngine, CpuError, CpuOptions, Engine};
use pilotage_guard::Domain;
use pilotage_vision::Preprocess;

use crate::car::EngineSource;
use crate::pilot::{DecodeError, Decoder};

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

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No such engine was compiled in.
    #[error("there is no compiled-in engine `{name}`; there is {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The file cannot be read.
    #[error("{path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// The system's word on it.
        reason: std::io::Error,
    },
    /// The file is longer than an engine may be.
    #[error("{path}: longer than any engine ({LONGEST_FILE} bytes); is it the right file?")]
    TooLong {
        /// The file.
        path: String,
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

/// Loads an engine for the CPU with `threads` threads.
///
/// # Errors
/// When it is not there, not sound, or cannot run here.
pub fn load(source: &EngineSource, threads: usize) -> Result<Loaded, LoadError> {
    match source {
        EngineSource::BuiltIn(name) => {
            let (_, bytes) = embedded::ENGINES
                .iter()
                .find(|(known, _)| known == name)
                .ok_or_else(|| LoadError::Unknown {
                    name: name.clone(),
                    known: names().collect::<Vec<_>>().join(", "),
                })?;
            from_bytes(name, bytes, threads)
        }
        EngineSource::File(path) => {
            let bytes = read(path)?;
            from_bytes(&path.display().to_string(), &bytes, threads)
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    use std::io::Read;
    let failed = |reason| LoadError::Read {
        path: path.display().to_string(),
        reason,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let length = file
        .take(LONGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)? as u64;
    if length > LONGEST_FILE {
        return Err(LoadError::TooLong {
            path: path.display().to_string(),
        });
    }
    Ok(bytes)
}

fn from_bytes(name: &str, bytes: &[u8], threads: usize) -> Result<Loaded, LoadError> {
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
    let options = CpuOptions {
        threads,
        ..CpuOptions::default()
    };
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
