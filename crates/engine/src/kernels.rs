//! The kernels of the operations.
//!
//! The plain loops define each operation. The convolution and the fully connected layer
//! also have vectorised kernels with packed weights. All kernels rely on the sizes of a
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
