//! Detached minisign signatures of engine files: `NAME.engine.minisig`.
//!
//! A signature is over the file's bytes, so whoever checks it has to go on with
//! those very bytes. It says nothing about the file's name: an engine that was
//! signed stays signed under another one.

use std::path::{Path, PathBuf};

use minisign_verify::{Error, PublicKey};

/// A longer file holds no signature: minisign writes four short lines, bytes.
pub const LONGEST_FILE: u64 = 1 << 14;

/// Whose signatures count, and whether an engine file has to have one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Any of these may have signed.
    pub keys: Vec<PublicKey>,
    /// Whether a file without a signature is refused.
    pub required: bool,
}

/// What is known of who made an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// It came with the program.
    CompiledIn,
    /// There is none, and none is asked for.
    Absent,
    /// There is one, but no key to check it with.
    Unchecked,
    /// A trusted key made it for these bytes.
    Good {
        /// What the signer wrote, which the signature covers too.
        comment: String,
    },
}

/// Why an engine file's signature does not let it be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A signature is required and there is none.
    #[error(
        "it has no signature and `engine.require_signature` is set; put its .minisig file beside it"
    )]
    Missing,
    /// It is too long or not what minisign writes.
    #[error("its .minisig file is not a minisign signature; copy it again")]
    Malformed,
    /// It signs the bytes themselves, which minisign has not done since 2021.
    #[error("its signature is of minisign's old kind; sign it again with minisign 0.10 or newer")]
    Legacy,
    /// No trusted key made it.
    #[error("its signature was made with a key that is not among `engine.trusted_keys`")]
    UnknownKey,
    /// The file or the signature is not what was signed.
    #[error(
        "its signature is wrong: the file or the signature was changed after signing; do not use it"
    )]
    Wrong,
}

/// A minisign public key as `car.toml` has it: the second line of a .pub file.
///
/// # Errors
/// Says what such a key looks like.
pub fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_base64(text).map_err(|_| {
        "is not a minisign public key; give the second line of the .pub file, which begins with RW"
            .to_owned()
    })
}

/// Where the signature of `file` lies: beside it, with `.minisig` added.
pub fn path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".minisig");
    path.into()
}

impl Trust {
    /// Checks the `signature` that was found with an engine file of these `bytes`.
    /// One that is there is checked even where none is required, if there are keys.
    ///
    /// # Errors
    /// When it is missing and required, or no trusted key made it for these bytes.
    pub fn check(
        &self,
        bytes: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<Signature, SignatureError> {
        let Some(signature) = signature else {
            return match self.required {
                true => Err(SignatureError::Missing),
                false => Ok(Signature::Absent),
            };
        };
        if self.keys.is_empty() && !self.required {
            return Ok(Signature::Unchecked);
        }
        let found = decode(signature).ok_or(SignatureError::Malformed)?;
        let mut reason = SignatureError::UnknownKey;
        for key in &self.keys {
            match key.verify(bytes, &found, false) {
                Ok(()) => {
                    let comment = found.trusted_comment().to_owned();
                    return Ok(Signature::Good { comment });
                }
                Err(Error::UnexpectedKeyId) => {}
                Err(Error::UnexpectedAlgorithm) => reason = SignatureError::Legacy,
                Err(_) => reason = SignatureError::Wrong,
            }
        }
        Err(reason)
    }
}

fn decode(signature: &[u8]) -> Option<minisign_verify::Signature> {
    if signature.len() as u64 > LONGEST_FILE {
        return None;
    }
    minisign_verify::Signature::decode(std::str::from_utf8(signature).ok()?).ok()
}

#[cfg(test)]
mod tests;
