/// The element types a graph may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// IEEE 754 binary32.
    F32,
    /// Signed 64-bit integer: shapes, axes and the like.
    I64,
    /// Signed 32-bit integer: biases of quantised layers.
    I32,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// True or false.
    Bool,
}

/// The elements of a [`Tensor`], in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// See [`ElementType::F32`].
    F32(Vec<f32>),
    /// See [`ElementType::I64`].
    I64(Vec<i64>),
    /// See [`ElementType::I32`].
    I32(Vec<i32>),
    /// See [`ElementType::U8`].
    U8(Vec<u8>),
    /// See [`ElementType::I8`].
    I8(Vec<i8>),
    /// See [`ElementType::Bool`].
    Bool(Vec<bool>),
}

/// A constant: a shape and as many elements as it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: TensorData,
}
