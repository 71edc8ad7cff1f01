//! Random numbers of the fuzzer.

/// xorshift64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    /// True with a probability of `percent`.
    pub(crate) fn share(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    pub(crate) fn extreme(&mut self, near: u64) -> u64 {
        let around = near
            .wrapping_add(self.below(2_000_000_000))
            .wrapping_sub(1_000_000_000);
        let any = self.next();
        self.of(&[
            0,
            1,
            near,
            around,
            around,
            any,
            1 << 31,
            u64::from(u32::MAX),
            1 << 63,
            u64::MAX,
        ])
    }

    pub(crate) fn float(&mut self) -> f32 {
        let share = self.below(1000) as f32 / 1000.0;
        self.of(&[
            share,
            share,
            -share,
            0.0,
            -0.0,
            1.0,
            -1.0,
            1.000_000_1,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            1e-45,
            3.4e38,
        ])
    }
}
