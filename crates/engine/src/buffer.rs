//! The owned memory of an engine's ports.

use crate::{ElementType, Port, TensorMut, TensorRef};

/// The owned memory of one input or output of an engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Buffer {
    /// 32-bit floating point.
    F32(Vec<f32>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// 8-bit integers without a sign, and truth values: 0 or 1.
    U8(Vec<u8>),
    /// 8-bit integers.
    I8(Vec<i8>),
}

impl Buffer {
    /// Zeros for `port`.
    pub fn zeros(port: &Port) -> Self {
        let len = port.len();
        match port.element_type {
            ElementType::F32 => Self::F32(vec![0.0; len]),
            ElementType::I64 => Self::I64(vec![0; len]),
            ElementType::I32 => Self::I32(vec![0; len]),
            // No port is F16.
            ElementType::F16 | ElementType::U8 | ElementType::Bool => Self::U8(vec![0; len]),
            ElementType::I8 => Self::I8(vec![0; len]),
        }
    }

    /// A view, to pass to [`Engine::infer`](crate::Engine::infer).
    pub fn as_ref(&self) -> TensorRef<'_> {
        match self {
            Self::F32(data) => TensorRef::F32(data),
            Self::I64(data) => TensorRef::I64(data),
            Self::I32(data) => TensorRef::I32(data),
            Self::U8(data) => TensorRef::U8(data),
            Self::I8(data) => TensorRef::I8(data),
        }
    }

    /// A view that an engine writes to.
    pub fn as_mut(&mut self) -> TensorMut<'_> {
        match self {
            Self::F32(data) => TensorMut::F32(data),
            Self::I64(data) => TensorMut::I64(data),
            Self::I32(data) => TensorMut::I32(data),
            Self::U8(data) => TensorMut::U8(data),
            Self::I8(data) => TensorMut::I8(data),
        }
    }

    /// The elements as f64; 64-bit integers are rounded.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::F32(data) => data.iter().map(|&x| x.into()).collect(),
            Self::I64(data) => data.iter().map(|&x| x as f64).collect(),
            Self::I32(data) => data.iter().map(|&x| x.into()).collect(),
            Self::U8(data) => data.iter().map(|&x| x.into()).collect(),
            Self::I8(data) => data.iter().map(|&x| x.into()).collect(),
        }
    }
}
