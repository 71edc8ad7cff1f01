//! ROS 2's encoding of messages: CDR, as OMG's "DDS Interoperability Wire Protocol" 10.2 and the
//! Common Object Request Broker Architecture, 15.3, define it. A value is aligned to its size,
//! counted from the end of the four bytes that name the byte order.

/// Reads a message's fields in their order. `None` is a message that ends too early, or in another
/// encoding.
pub(super) struct Cdr<'a> {
    fields: &'a [u8],
    position: usize,
    is_little: bool,
}

impl<'a> Cdr<'a> {
    pub fn new(message: &'a [u8]) -> Option<Self> {
        let (head, fields) = message.split_first_chunk::<4>()?;
        let is_little = match head {
            [0, 0, ..] => false,
            [0, 1, ..] => true,
            _ => return None,
        };
        Some(Self {
            fields,
            position: 0,
            is_little,
        })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(length)?;
        let taken = self.fields.get(self.position..end)?;
        self.position = end;
        Some(taken)
    }

    fn word(&mut self) -> Option<[u8; 4]> {
        self.position = self.position.checked_next_multiple_of(4)?;
        let mut word: [u8; 4] = self.take(4)?.try_into().ok()?;
        if !self.is_little {
            word.reverse();
        }
        Some(word)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.word().map(u32::from_le_bytes)
    }

    pub fn f32(&mut self) -> Option<f32> {
        self.word().map(f32::from_le_bytes)
    }

    /// The bytes of a sequence of bytes, or of a string with its NUL.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.take(length)
    }

    /// `std_msgs/msg/Header`: the stamp in nanoseconds.
    pub fn header(&mut self) -> Option<u64> {
        let seconds = i32::from_le_bytes(self.word()?);
        let nanoseconds = self.u32()?;
        self.bytes()?;
        let seconds = u64::try_from(seconds).unwrap_or(0);
        Some(seconds * 1_000_000_000 + u64::from(nanoseconds))
    }

    /// A sequence of numbers.
    pub fn numbers(&mut self) -> Option<Vec<f32>> {
        let count = usize::try_from(self.u32()?).ok()?;
        let left = self.fields.len().saturating_sub(self.position);
        // A false count takes no memory.
        (count <= left / 4).then_some(())?;
        (0..count).map(|_| self.f32()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that the specification's rules give, by hand: both byte orders, and the padding.
    #[test]
    fn values_are_aligned_and_of_either_byte_order() {
        let little = [
            0, 1, 0, 0, 2, 0, 0, 0, b'x', 0, 0xff, 0xff, 0, 0, 0x80, 0x3f,
        ];
        let big = [
            0, 0, 0, 0, 0, 0, 0, 2, b'x', 0, 0xff, 0xff, 0x3f, 0x80, 0, 0,
        ];
        for message in [little, big] {
            let mut cdr = Cdr::new(&message).unwrap();
            assert_eq!(cdr.bytes(), Some(&b"x\0"[..]));
            assert_eq!(cdr.f32(), Some(1.0));
            assert_eq!(cdr.f32(), None);
        }
        assert!(Cdr::new(&[0, 9, 0, 0]).is_none());
        let many = [0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(Cdr::new(&many).unwrap().numbers(), None);
    }
}
