//! Reads a file's records in their order.

use std::io::{self, Read};

use crate::chunk::decompress;
use crate::record::{HEAD, Record, head_of, op};
use crate::{LONGEST_RECORD, MAGIC, McapError};

/// The records of a file in their order. When the file ends early or is damaged, the records of all
/// chunks before that are read, and [`is_damaged`](Self::is_damaged) is true.
#[derive(Debug)]
pub struct Stream<R> {
    source: R,
    /// Bytes of the source that were read.
    position: u64,
    record: Vec<u8>,
    /// The chunk that is being read, the offset of its record in the file, and the next record in it.
    chunk: Vec<u8>,
    chunk_position: u64,
    next: usize,
    ended: bool,
    damaged: bool,
}

impl<R: Read> Stream<R> {
    /// Reads from the start of a file.
    ///
    /// # Errors
    /// Fails if the source cannot be read, or does not begin as an MCAP file.
    pub fn new(source: R) -> Result<Self, McapError> {
        let mut stream = Self {
            source,
            position: 0,
            record: Vec::new(),
            chunk: Vec::new(),
            chunk_position: 0,
            next: 0,
            ended: false,
            damaged: false,
        };
        let mut magic = [0; MAGIC.len()];
        match stream.fill(&mut magic)? && magic == MAGIC {
            true => Ok(stream),
            false => Err(McapError::NotMcap),
        }
    }

    /// Whether the file ended early or was damaged, so that its last records are missing. Known
    /// after the last record.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// The next record; `None` at the end, or where the file is cut off or damaged.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is compressed in a way that is not read.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, McapError> {
        let (opcode, from, to) = loop {
            if let Some(found) = self.in_chunk() {
                break found;
            }
            if self.ended {
                return Ok(None);
            }
            self.read_record()?;
        };
        let body = self.chunk.get(from..to).unwrap_or_default();
        Ok(Some(Record::parse(opcode, body, self.chunk_position, from)))
    }

    /// The next record in the chunk: its opcode, and where its body is.
    fn in_chunk(&mut self) -> Option<(u8, usize, usize)> {
        let head = self.chunk.get(self.next..self.next.checked_add(HEAD)?)?;
        let (opcode, length) = head_of(head)?;
        let from = self.next + HEAD;
        let to = from.checked_add(usize::try_from(length).ok()?)?;
        if to > self.chunk.len() {
            // Its checksum was right: another program wrote it so.
            (self.damaged, self.next) = (true, self.chunk.len());
            return None;
        }
        self.next = to;
        Some((opcode, from, to))
    }

    /// Reads a record of the file; a chunk becomes the present one.
    fn read_record(&mut self) -> Result<(), McapError> {
        let begin = self.position;
        let mut head = [0; HEAD];
        let Some((opcode, length)) = self.fill(&mut head)?.then(|| head_of(&head)).flatten() else {
            self.stop(true);
            return Ok(());
        };
        if opcode == 0 || length > LONGEST_RECORD as u64 {
            // A power cut may leave zeros.
            self.stop(true);
            return Ok(());
        }
        self.record.clear();
        let mut body = (&mut self.source).take(length);
        let read = body.read_to_end(&mut self.record)?;
        self.position += read as u64;
        if read as u64 != length {
            self.stop(true);
            return Ok(());
        }
        self.next = 0;
        self.chunk_position = begin;
        match opcode {
            op::CHUNK => {
                if !decompress(&self.record, &mut self.chunk)? {
                    self.stop(true);
                }
            }
            // The rest is an index.
            op::DATA_END | op::FOOTER => self.stop(false),
            // In a file without chunks.
            _ => {
                self.chunk.clear();
                self.chunk.extend_from_slice(&head);
                self.chunk.append(&mut self.record);
            }
        }
        Ok(())
    }

    fn stop(&mut self, damaged: bool) {
        (self.ended, self.damaged) = (true, self.damaged || damaged);
        self.chunk.clear();
    }

    /// Fills `bytes`. Returns whether the file had as many.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<bool, McapError> {
        match self.source.read_exact(bytes) {
            Ok(()) => {
                self.position += bytes.len() as u64;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
