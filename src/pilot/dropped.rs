/// Drops frames: a fault to test a policy and a guard against.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Dropped {
    share: f64,
    seed: u64,
}

impl Dropped {
    /// Drops a `share` (0 to 0.9) of the frames; the same `seed` drops the same frames. The first
    /// frame is never dropped.
    pub fn new(share: f64, seed: u64) -> Self {
        Self {
            share: share.clamp(0.0, 0.9),
            seed,
        }
    }

    /// Whether frame `sequence` is dropped.
    pub fn drops(&self, sequence: u64) -> bool {
        if self.share <= 0.0 || sequence == 0 {
            return false;
        }
        // SplitMix64's finalizer (Steele, Lea, Flood, 2014): a hash, so that a second call for the
        // same frame gives the same answer.
        let mut z = sequence
            .wrapping_add(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 53) as f64 <= self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_frames_is_a_fifth() {
        let dropped = Dropped::new(0.2, 7);
        let lost = (0..100_000).filter(|&n| dropped.drops(n)).count();
        assert!((19_500..20_500).contains(&lost), "{lost}");
        assert!(!dropped.drops(0));
    }

    #[test]
    fn none_means_none() {
        assert!((0..10_000).all(|n| !Dropped::default().drops(n)));
    }
}
