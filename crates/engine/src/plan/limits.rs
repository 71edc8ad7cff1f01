//! Limits of a plan from a file.

/// Maximum number of axes of a tensor.
pub const MAX_RANK: usize = 8;
/// Maximum number of tensors, of constants, of steps and of ports.
pub const MAX_ITEMS: usize = 16_384;
/// Maximum number of bytes of all constants, and of the tensors that are in memory at one time. It is
/// ten times what driving networks need. Packing a hostile plan takes up to eight times as much, which
/// fits a small machine.
pub const MAX_BYTES: usize = 1 << 28;
/// Maximum number of multiply-adds (or element visits) of one inference.
pub const MAX_WORK: u64 = 1 << 37;
