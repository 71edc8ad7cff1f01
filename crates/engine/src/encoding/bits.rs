//! Integers of 1 to 4 bits without gaps, the first in the lowest bits of the first byte.

/// Packs integers of `bits` bits.
pub(super) fn pack(bits: u8, integers: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut buffer, mut filled) = (0_u16, 0);
    for integer in integers {
        buffer |= u16::from(integer) << filled;
        filled += bits;
        if filled >= 8 {
            bytes.push(buffer as u8);
            buffer >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        bytes.push(buffer as u8);
    }
    bytes
}

/// Reads packed integers.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    bits: u8,
    next: usize,
    buffer: u16,
    filled: u8,
}

impl<'a> Reader<'a> {
    /// `None` if `bytes` does not have exactly the bytes of `count` integers, or an unused bit is
    /// not 0.
    pub(super) fn new(bits: u8, bytes: &'a [u8], count: usize) -> Option<Self> {
        let used = count.checked_mul(usize::from(bits))?;
        let unused = match (used % 8, bytes.last()) {
            (1.., Some(&last)) => last >> (used % 8),
            _ => 0,
        };
        (bytes.len() == used.div_ceil(8) && unused == 0).then_some(Self {
            bytes,
            bits,
            next: 0,
            buffer: 0,
            filled: 0,
        })
    }

    /// The next integer; 0 past the last one.
    pub(super) fn next(&mut self) -> u8 {
        if self.filled < self.bits {
            let byte = self.bytes.get(self.next).copied().unwrap_or(0);
            self.buffer |= u16::from(byte) << self.filled;
            self.filled += 8;
            self.next += 1;
        }
        let integer = self.buffer as u8 & ((1 << self.bits) - 1);
        self.buffer >>= self.bits;
        self.filled -= self.bits;
        integer
    }
}
