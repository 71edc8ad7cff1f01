//! Memory that vector instructions may load and store whole lines of.
#![allow(unsafe_code)]

/// Bytes of a cache line, and of the widest vector.
pub(crate) const LINE: usize = 64;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// Bytes that are aligned to a cache line.
#[derive(Debug)]
pub(crate) struct AlignedBytes {
    lines: Vec<Line>,
}

impl AlignedBytes {
    pub(crate) fn zeroed(bytes: usize) -> Self {
        Self {
            lines: vec![Line([0; LINE]); bytes.div_ceil(LINE)],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len() * LINE
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.lines.as_ptr().cast()
    }

    /// A copy of `data`.
    pub(crate) fn holding(data: &[i8]) -> Self {
        let mut this = Self::zeroed(data.len());
        for (to, &x) in this.bytes_mut().iter_mut().zip(data) {
            *to = x.cast_unsigned();
        }
        this
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: a `Line` is 64 initialized bytes without padding, so that `lines` is
        // `len` contiguous bytes, which the slice borrows from `self`.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the borrow of `self` is exclusive, and any bytes are a
        // valid `Line`.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.len()) }
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }
}
