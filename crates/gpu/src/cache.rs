//! A cache on disk of the plans that were built on this machine.
//!
//! A plan is valid for one device, one version of TensorRT and one model. TensorRT checks only
//! part of this, and only after it has started to read the plan. The cache checks all of it, and
//! a checksum, before TensorRT sees the plan.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tensorrt_rs::{Owner, TrustedBytes, TrustedReadError, Untrusted, Version, store, trusted};

/// The largest plan file, in bytes. Plans of driving networks are megabytes.
const MAX_PLAN_BYTES: u64 = 1 << 30;
const MAGIC: &[u8] = b"pilotage plan 2\n";
/// How plans are built from a model: incremented when that changes, so that older plans are built
/// again.
const BUILD_RULES: u32 = 2;
const DIGEST_BYTES: usize = 32;

/// Identifies a plan: its model, options, library and device. A plan is loaded only if every
/// field is equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanKey {
    /// SHA-256 of the ONNX file that the plan was built from.
    pub model: [u8; 32],
    /// `fp32`, `fp16` or `int8`, and the other options that change the plan.
    pub precision: String,
    /// The version of the TensorRT library.
    pub tensorrt: Version,
    /// SHA-256 of the validation set: frames, fp32 answers, limits.
    pub validation: [u8; 32],
    /// The driver's CUDA version, for example 12060 for 12.6.
    pub cuda: i32,
    /// The device's compute capability, for example 87 for 8.7 (Orin).
    pub compute_capability: u16,
    /// The device's name, as reported by the driver. All Jetsons of a generation have the same.
    pub device: String,
    /// The device's number of multiprocessors, which depends on the module and its power mode.
    pub multiprocessors: i32,
    /// The size of the device's L2 cache, in bytes.
    pub l2_cache: i32,
}

impl PlanKey {
    /// Computes the SHA-256 of an ONNX file, for [`PlanKey::model`].
    #[must_use]
    pub fn of_model(model: &[u8]) -> [u8; 32] {
        Sha256::digest(model).into()
    }

    /// The key as lines of text, as stored in the plan's file.
    fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in [
            ("model", hexadecimal(&self.model)),
            ("precision", one_line(&self.precision)),
            ("proof", hexadecimal(&self.validation)),
            ("tensorrt", self.tensorrt.to_string()),
            ("cuda", self.cuda.to_string()),
            ("compute capability", self.compute_capability.to_string()),
            ("device", one_line(&self.device)),
            (
                "number of multiprocessors",
                self.multiprocessors.to_string(),
            ),
            ("L2 cache", self.l2_cache.to_string()),
            ("build rules", BUILD_RULES.to_string()),
        ] {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name}: {value}");
        }
        text
    }
}

/// Why a plan could not be loaded or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// There is no plan for this model.
    #[error("{}: no plan has been built for this model on this machine; run `pilotage compile --for-this-machine`", .path.display())]
    None {
        /// The file where the plan would be.
        path: PathBuf,
    },
    /// Another user could have written the file.
    #[error(
        "{reason}: what others may have written is not loaded; take the right to write it from \
         them (`sudo chown -R root: {0}; sudo chmod -R go-w {0}`), or delete it", .folder.display()
    )]
    Untrusted {
        /// Which path is not trusted, and why.
        reason: Untrusted,
        /// The cache's folder.
        folder: PathBuf,
    },
    /// The plan's file cannot be read.
    #[error("{}: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        reason: String,
    },
    /// The plan's file is damaged.
    #[error("{}: the plan is damaged ({reason}); it is not loaded: build it anew with `pilotage compile --for-this-machine`", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The check that failed.
        reason: &'static str,
    },
    /// The plan is intact, and was built for another key.
    #[error("{}: the plan was built for another {what} ({was}, here {is}); it is not loaded: build it anew with `pilotage compile --for-this-machine`", .path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The part of the key that differs.
        what: String,
        /// The value that the plan was built for.
        was: String,
        /// The value on this machine.
        is: String,
    },
    /// The plan was built and cannot be stored.
    #[error("{}: the plan cannot be kept: {reason}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        reason: String,
    },
}

/// A folder of plans, one file for each model and precision.
#[derive(Debug, Clone)]
pub struct PlanCache {
    folder: PathBuf,
}

impl PlanCache {
    /// The folder that an installed Pilotage uses.
    pub const INSTALLED: &'static str = "/var/lib/pilotage/plans";

    /// A cache in `folder`, which is created when the first plan is stored.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The path of a key's plan. The file name depends on model and precision only. After an
    /// update of TensorRT the new plan therefore replaces the old one, and [`Self::load`] reports
    /// what has changed.
    #[must_use]
    pub fn path(&self, key: &PlanKey) -> PathBuf {
        let precision = PlanKey::of_model(key.precision.as_bytes());
        let model = hexadecimal(key.model.get(..8).unwrap_or_default());
        let options = hexadecimal(precision.get(..4).unwrap_or_default());
        self.folder.join(format!("{model}-{options}.plan"))
    }

    /// Loads the plan for `key`.
    ///
    /// # Errors
    /// When there is no plan, or it is not trusted, cannot be read, is damaged or has another key.
    pub fn load(&self, key: &PlanKey) -> Result<TrustedBytes, CacheError> {
        let path = self.path(key);
        let content = match self.read(&path, MAX_PLAN_BYTES) {
            Ok(content) => content,
            Err(TrustedReadError::Read(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CacheError::None { path });
            }
            Err(error) => return Err(self.unread(path, error)),
        };
        let damaged = |reason| CacheError::Damaged {
            path: path.clone(),
            reason,
        };
        let (body, digest) = content
            .split_last_chunk::<DIGEST_BYTES>()
            .ok_or_else(|| damaged("it is too short"))?;
        if Sha256::digest(body).as_slice() != digest {
            return Err(damaged("its checksum is another"));
        }
        let body = body
            .strip_prefix(MAGIC)
            .ok_or_else(|| damaged("it is not a plan of this kind"))?;
        let end = body
            .windows(2)
            .position(|pair| pair == b"\n\n")
            .ok_or_else(|| damaged("it has no key"))?;
        let header = &body[..end + 1];
        let header = std::str::from_utf8(header).map_err(|_| damaged("its key is not text"))?;
        if let Some((what, was, is)) = difference(header, &key.text()) {
            return Err(CacheError::OtherKey {
                path,
                what,
                was,
                is,
            });
        }
        let start = MAGIC.len() + end + 2;
        let plan = content.part(start..content.len() - DIGEST_BYTES);
        plan.ok_or_else(|| damaged("it has no plan"))
    }

    /// The trusted owners of plan files: only root in the installed folder; root and the current
    /// user in any other folder. A checksum shows that a plan is intact, not who wrote it.
    fn owner(&self) -> Owner {
        match self.folder == Path::new(Self::INSTALLED) {
            true => Owner::Root,
            false => Owner::RootOrUser,
        }
    }

    fn trusted(&self, path: &Path) -> Result<PathBuf, CacheError> {
        trusted(path, self.owner()).map_err(|reason| CacheError::Untrusted {
            reason,
            folder: self.folder.clone(),
        })
    }

    /// Reads a file of the folder, of at most `limit` bytes.
    ///
    /// # Errors
    /// When another user could have written the file, or it cannot be read.
    pub(crate) fn read(&self, path: &Path, limit: u64) -> Result<TrustedBytes, TrustedReadError> {
        TrustedBytes::read(path, self.owner(), limit)
    }

    /// Converts the error of [`read`](Self::read).
    pub(crate) fn unread(&self, path: PathBuf, error: TrustedReadError) -> CacheError {
        match error {
            TrustedReadError::Untrusted(reason) => CacheError::Untrusted {
                reason,
                folder: self.folder.clone(),
            },
            error => CacheError::Unreadable {
                path,
                reason: error.to_string(),
            },
        }
    }

    /// Stores a plan atomically: on failure the previous plan stays.
    ///
    /// # Errors
    /// When the folder cannot be created or written, is writable by others, or the disk is full.
    pub fn keep(&self, key: &PlanKey, plan: &[u8]) -> Result<PathBuf, CacheError> {
        let path = self.path(key);
        let mut content = MAGIC.to_vec();
        content.extend_from_slice(key.text().as_bytes());
        content.push(b'\n');
        content.extend_from_slice(plan);
        let digest = Sha256::digest(&content);
        content.extend_from_slice(&digest);
        store(&path, &content).map_err(|error| CacheError::Unwritable {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        // Fail now if `load` would reject the stored plan as untrusted.
        self.trusted(&path)?;
        Ok(path)
    }
}

/// The first line that differs: its name, its value in `was`, its value in `is`.
fn difference(was: &str, is: &str) -> Option<(String, String, String)> {
    let mut was_lines = was.lines();
    for line in is.lines() {
        let other = was_lines.next().unwrap_or_default();
        if line != other {
            let (what, is) = line.split_once(": ").unwrap_or((line, ""));
            let was = other.split_once(": ").map_or(other, |(_, value)| value);
            return Some((what.to_owned(), was.to_owned(), is.to_owned()));
        }
    }
    None
}

/// Replaces control characters by spaces. Names are untrusted: a line break in a name would look
/// like the next line of the key.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
