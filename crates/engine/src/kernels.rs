//! What each operation does to its elements.
//!
//! The plain loops here are the definition; the convolution and the fully
//! connected layer also have packed, vectorised forms. All sizes are those of a
//! validated plan.

pub(crate) mod activation;
pub(crate) mod binary;
pub(crate) mod convert;
pub(crate) mod convolution;
pub(crate) mod depthwise;
pub(crate) mod int8;
pub(crate) mod matmul;
pub(crate) mod movement;
pub(crate) mod pool;
pub(crate) mod quantized;
pub(crate) mod reduce;
pub(crate) mod simd;
pub(crate) mod tile;
pub(crate) mod tiled;
