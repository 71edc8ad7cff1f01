//! Plans that were built on this machine, kept between starts.
//!
//! A plan fits one device, one version of TensorRT and one model. TensorRT checks some of that
//! when it loads a plan, after having trusted its bytes; here all of it is checked first.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::compiler::{create_folder, write_whole};
use crate::trust::{Owner, trusted};
use crate::version::Version;

/// The most a plan may weigh: driving networks are megabytes.
const LARGEST: u64 = 1 << 30;
const MAGIC: &[u8] = b"pilotage plan 2\n";
const DIGEST: usize = 32;

/// What a plan was built from and for. Every part has to be the same for it to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanKey {
    /// SHA-256 of the ONNX file that was built.
    pub model: [u8; 32],
    /// `fp32`, `fp16` or `int8`, and whatever else of the options shapes the plan.
    pub precision: String,
    /// The library.
    pub tensorrt: Version,
    /// SHA-256 of what it was proven by: frames, fp32's answers, limits.
    pub proof: [u8; 32],
    /// The driver's CUDA version, as 12060 for 12.6.
    pub cuda: i32,
    /// As 87 for 8.7 (Orin).
    pub compute_capability: u16,
    /// As the driver names it.
    pub device: String,
}

impl PlanKey {
    /// SHA-256 of an ONNX file, for [`PlanKey::model`].
    #[must_use]
    pub fn of_model(model: &[u8]) -> [u8; 32] {
        Sha256::digest(model).into()
    }

    /// The key as lines of text, as they stand in the plan's file.
    fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in [
            ("model", hexadecimal(&self.model)),
            ("precision", one_line(&self.precision)),
            ("proof", hexadecimal(&self.proof)),
            ("tensorrt", self.tensorrt.to_string()),
            ("cuda", self.cuda.to_string()),
            ("compute capability", self.compute_capability.to_string()),
            ("device", one_line(&self.device)),
        ] {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}: {value}");
        }
        text
    }
}

/// Why a plan could not be loaded or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// None was built.
    #[error("{}: no plan has been built for this model on this machine; run `pilotage compile --for-this-machine`", .path.display())]
    None {
        /// Where it would be.
        path: PathBuf,
    },
    /// Others could have put it there.
    #[error(
        "{reason}: what others may have written is not loaded; take the right to write it from \
         them (`sudo chown -R root: {0}; sudo chmod -R go-w {0}`), or delete it", .folder.display()
    )]
    Untrusted {
        /// Which place, and whose it is.
        reason: String,
        /// The folder of the cache.
        folder: PathBuf,
    },
    /// It cannot be read.
    #[error("{}: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It is not what was written.
    #[error("{}: the plan is damaged ({reason}); it is not loaded: build it anew with `pilotage compile --for-this-machine`", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        reason: &'static str,
    },
    /// It is whole, and for something else.
    #[error("{}: the plan was built for another {what} ({was}, here {is}); it is not loaded: build it anew with `pilotage compile --for-this-machine`", .path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The part of the key that differs.
        what: String,
        /// What it was built for.
        was: String,
        /// What is here.
        is: String,
    },
    /// The plan was built and cannot be kept.
    #[error("{}: the plan cannot be kept: {reason}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// A folder of plans, one file for each model.
#[derive(Debug, Clone)]
pub struct PlanCache {
    folder: PathBuf,
}

impl PlanCache {
    /// Where an installed Pilotage keeps them.
    pub const INSTALLED: &'static str = "/var/lib/pilotage/plans";

    /// The plans in `folder`, which is made when the first is kept.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The file of a key's plan. Model and precision name it, so that a machine whose TensorRT
    /// was updated replaces the old plan, and says what has changed.
    #[must_use]
    pub fn path(&self, key: &PlanKey) -> PathBuf {
        let precision = PlanKey::of_model(key.precision.as_bytes());
        let model = hexadecimal(key.model.get(..8).unwrap_or_default());
        let options = hexadecimal(precision.get(..4).unwrap_or_default());
        self.folder.join(format!("{model}-{options}.plan"))
    }

    /// The plan for `key`.
    ///
    /// # Errors
    /// When there is none, or it is damaged or of another key.
    pub fn load(&self, key: &PlanKey) -> Result<Vec<u8>, CacheError> {
        let path = self.path(key);
        let content = match self.read(&path, LARGEST)? {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CacheError::None { path });
            }
            Err(error) => {
                return Err(CacheError::Unreadable {
                    path,
                    reason: error.to_string(),
                });
            }
        };
        let damaged = |reason| CacheError::Damaged {
            path: path.clone(),
            reason,
        };
        let (body, digest) = content
            .split_last_chunk::<DIGEST>()
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
        let (header, plan) = body.split_at(end + 1);
        let header = std::str::from_utf8(header).map_err(|_| damaged("its key is not text"))?;
        if let Some((what, was, is)) = difference(header, &key.text()) {
            return Err(CacheError::OtherKey {
                path,
                what,
                was,
                is,
            });
        }
        Ok(plan.get(1..).unwrap_or_default().to_vec())
    }

    /// Whose files are read: in the installed folder root's, in one that the user chose the
    /// user's own too. A checksum tells that a plan is whole, not who wrote it.
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

    /// What a file in the folder says, and the system's word where it cannot be read.
    ///
    /// # Errors
    /// When others could have put it there.
    pub(crate) fn read(&self, path: &Path, most: u64) -> Result<io::Result<Vec<u8>>, CacheError> {
        // A link that leads nowhere is not there; one that leads somewhere is looked at.
        match path.exists() {
            true => Ok(read(&self.trusted(path)?, most)),
            false => Ok(read(path, most)),
        }
    }

    /// Keeps a plan: whole, or the one that was there stays.
    ///
    /// # Errors
    /// When the folder cannot be made or written, others may write it, or the disk is full.
    pub fn keep(&self, key: &PlanKey, plan: &[u8]) -> Result<PathBuf, CacheError> {
        let path = self.path(key);
        let mut content = MAGIC.to_vec();
        content.extend_from_slice(key.text().as_bytes());
        content.push(b'\n');
        content.extend_from_slice(plan);
        let digest = Sha256::digest(&content);
        content.extend_from_slice(&digest);
        create_folder(&self.folder)
            .and_then(|()| write_whole(&path, &content))
            .map_err(|error| CacheError::Unwritable {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        // What would never be loaded is not said to be kept.
        self.trusted(&path)?;
        Ok(path)
    }
}

fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::other(format!(
            "it is larger than {most} bytes, as no such file is"
        )));
    }
    Ok(content)
}

/// The first line that differs: its name, and both values.
fn difference(was: &str, is: &str) -> Option<(String, String, String)> {
    let mut there = was.lines();
    for line in is.lines() {
        let other = there.next().unwrap_or_default();
        if line != other {
            let (what, here) = line.split_once(": ").unwrap_or((line, ""));
            let was = other.split_once(": ").map_or(other, |(_, value)| value);
            return Some((what.to_owned(), was.to_owned(), here.to_owned()));
        }
    }
    None
}

/// Names come from outside; a line break in one would look like the key's next line.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
