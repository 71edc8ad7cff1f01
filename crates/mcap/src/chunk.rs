//! Chunks: <https://mcap.dev/spec#chunk-op0x06>.

use std::io::Read;

use crate::record::Fields;
use crate::{LONGEST_RECORD, McapError};

/// Decompresses the chunk in `record` into `records`, and compares its checksum. `false` for a chunk
/// that is damaged or too large.
pub(crate) fn decompress(record: &[u8], records: &mut Vec<u8>) -> Result<bool, McapError> {
    records.clear();
    let Some(chunk) = Chunk::parse(record) else {
        return Ok(false);
    };
    if chunk.size > LONGEST_RECORD as u64 {
        return Ok(false);
    }
    // One byte more shows that a chunk is larger than it says.
    let most = chunk.size + 1;
    let read = match chunk.compression {
        b"" => {
            records.extend_from_slice(chunk.records);
            Ok(0)
        }
        b"lz4" => lz4_flex::frame::FrameDecoder::new(chunk.records)
            .take(most)
            .read_to_end(records),
        b"zstd" => match ruzstd::decoding::StreamingDecoder::new(chunk.records) {
            Ok(decoder) => decoder.take(most).read_to_end(records),
            Err(_) => return Ok(false),
        },
        other => {
            let name = String::from_utf8_lossy(other);
            return Err(McapError::Compression(name.chars().take(32).collect()));
        }
    };
    let is_whole = read.is_ok() && records.len() as u64 == chunk.size;
    let is_right = chunk.sum == 0 || crc32fast::hash(records) == chunk.sum;
    Ok(is_whole && is_right)
}

struct Chunk<'a> {
    /// The size without compression, bytes.
    size: u64,
    /// CRC-32 of the records without compression; 0 for none.
    sum: u32,
    compression: &'a [u8],
    records: &'a [u8],
}

impl<'a> Chunk<'a> {
    fn parse(record: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(record);
        // Times of the first and last message.
        fields.take(2 * 8)?;
        let size = u64::from_le_bytes(fields.array()?);
        let sum = u32::from_le_bytes(fields.array()?);
        let compression = fields.text()?;
        let length = u64::from_le_bytes(fields.array()?);
        Some(Self {
            size,
            sum,
            compression,
            records: fields.take(usize::try_from(length).ok()?)?,
        })
    }
}
