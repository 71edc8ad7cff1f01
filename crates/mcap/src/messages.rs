//! Reads single messages again.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::chunk::decompress;
use crate::record::{HEAD, Place, head_of, op};
use crate::{LONGEST_RECORD, McapError, open};

/// Chunks that are kept: threads that read neighbouring messages need the same.
const KEPT: usize = 4;

/// A file whose messages are read one by one, by any number of threads.
#[derive(Debug)]
pub struct Messages {
    file: File,
    /// The records that were read last, by their offsets, the newest at the end.
    kept: Mutex<VecDeque<(u64, Arc<Vec<u8>>)>>,
}

impl Messages {
    /// Opens the file `path`, of which a [`Stream`](crate::Stream) reported the places.
    ///
    /// # Errors
    /// Fails if the file cannot be opened, or is not a regular file.
    pub fn open(path: &Path) -> Result<Self, McapError> {
        Ok(Self {
            file: open(path)?,
            kept: Mutex::default(),
        })
    }

    /// The content of the message at `place`.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or has changed.
    pub fn read(&self, place: Place) -> Result<Vec<u8>, McapError> {
        let records = self.records(place.record)?;
        let start = place.start as usize;
        let end = start.checked_add(place.length as usize);
        let content = end.and_then(|end| records.get(start..end));
        Ok(content.ok_or(McapError::Changed)?.to_vec())
    }

    /// The decompressed chunk at `position` of the file, or the record if it is no chunk.
    fn records(&self, position: u64) -> Result<Arc<Vec<u8>>, McapError> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, records)) = kept().iter().find(|(at, _)| *at == position) {
            return Ok(Arc::clone(records));
        }
        let records = Arc::new(self.load(position)?);
        let mut kept = kept();
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((position, Arc::clone(&records)));
        Ok(records)
    }

    fn load(&self, position: u64) -> Result<Vec<u8>, McapError> {
        let mut head = [0; HEAD];
        self.file.read_exact_at(&mut head, position)?;
        let (opcode, length) = head_of(&head).ok_or(McapError::Changed)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        // The file has at least as many bytes, so a false length takes no memory.
        let left = self.file.metadata()?.len().saturating_sub(position);
        if length > LONGEST_RECORD || length as u64 > left {
            return Err(McapError::Changed);
        }
        let mut record = vec![0; HEAD + length];
        self.file.read_exact_at(&mut record, position)?;
        if opcode != op::CHUNK {
            return Ok(record);
        }
        let mut records = Vec::new();
        match decompress(record.get(HEAD..).unwrap_or_default(), &mut records)? {
            true => Ok(records),
            false => Err(McapError::Changed),
        }
    }
}
