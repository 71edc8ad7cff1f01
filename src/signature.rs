//! Detached minisign signatures of engine files: `NAME.engine.minisig`.
//!
//! A signature covers the file's bytes, so the caller must go on to use exactly the bytes that were
//! checked. It does not cover the file's name: a signed engine stays signed under another name.

use std::path::{Path, PathBuf};

use minisign_verify::{Error, PublicKey};

/// The longest signature file, bytes; minisign writes four short lines.
pub const LONGEST_FILE: u64 = 1 << 14;

/// The trusted keys, and whether an engine file must be signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Any of these keys may have signed.
    pub keys: Vec<PublicKey>,
    /// Whether a file without a signature is refused.
    pub required: bool,
}

/// The result of a signature check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// The engine is compiled in.
    CompiledIn,
    /// There is no signature, and none is required.
    Absent,
    /// There is a signature, but no key to check it with.
    Unchecked,
    /// A trusted key signed these bytes.
    Good {
        /// The signer's trusted comment, which the signature covers too.
        comment: String,
    },
}

/// Why an engine file's signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A signature is required and there is none.
    #[error(
        "it has no signature and `engine.require_signature` is set; put its .minisig file beside it"
    )]
    Missing,
    /// The signature file is too long or not in minisign's format.
    #[error("its .minisig file is not a minisign signature; copy it again")]
    Malformed,
    /// The signature is over the bytes themselves and not their hash, as minisign has not written
    /// since 2021.
    #[error("its signature is of minisign's old kind; sign it again with minisign 0.10 or newer")]
    Legacy,
    /// No trusted key made the signature.
    #[error("its signature was made with a key that is not among `engine.trusted_keys`")]
    UnknownKey,
    /// The file or the signature was changed after signing.
    #[error(
        "its signature is wrong: the file or the signature was changed after signing; do not use it"
    )]
    Wrong,
}

/// Parses a minisign public key as written in `car.toml`: the second line of a .pub file.
///
/// # Errors
/// The error describes what such a key looks like.
pub fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_base64(text).map_err(|_| {
        "is not a minisign public key; give the second line of the .pub file, which begins with RW"
            .to_owned()
    })
}

/// The path of the signature of `file`: beside it, with `.minisig` appended.
pub fn path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".minisig");
    path.into()
}

impl Trust {
    /// Checks the `signature` of an engine file with these `bytes`. If there are keys, a signature
    /// is checked even where none is required.
    ///
    /// # Errors
    /// Fails if the signature is missing and required, or if no trusted key made it for these
    /// bytes.
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
