use std::fmt;
use std::sync::Arc;

use half::f16;
pub use pilotage_tensor::ElementType;

/// Element type and shape of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorType {
    /// Type of each element.
    pub element_type: ElementType,
    /// Sizes of the axes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorType {
    /// A tensor type from its parts.
    pub fn new(element_type: ElementType, shape: impl Into<Vec<usize>>) -> Self {
        Self {
            element_type,
            shape: shape.into(),
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.element_type, self.shape)
    }
}

/// The elements of a [`Tensor`], in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// See [`ElementType::F32`].
    F32(Vec<f32>),
    /// See [`ElementType::F16`].
    F16(Vec<f16>),
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

impl TensorData {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the elements.
    pub fn element_type(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::F16(_) => ElementType::F16,
            Self::I64(_) => ElementType::I64,
            Self::I32(_) => ElementType::I32,
            Self::U8(_) => ElementType::U8,
            Self::I8(_) => ElementType::I8,
            Self::Bool(_) => ElementType::Bool,
        }
    }
}

macro_rules! from_vec {
    ($($variant:ident: $element:ty),*) => {$(
        impl From<Vec<$element>> for TensorData {
            fn from(elements: Vec<$element>) -> Self {
                Self::$variant(elements)
            }
        }
    )*};
}
from_vec!(F32: f32, F16: f16, I64: i64, I32: i32, U8: u8, I8: i8, Bool: bool);

/// The number of elements does not match the shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shape {shape:?} and {elements} elements do not fit together")]
pub struct TensorSizeError {
    /// The given shape.
    pub shape: Vec<usize>,
    /// The number of given elements.
    pub elements: usize,
}

/// A constant: a shape, and elements that match it. Clones share the elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Arc<TensorData>,
}

impl Tensor {
    /// A tensor from a shape and its elements in row-major order.
    pub fn new(
        shape: impl Into<Vec<usize>>,
        data: impl Into<TensorData>,
    ) -> Result<Self, TensorSizeError> {
        let (shape, data) = (shape.into(), data.into());
        if element_count(&shape) != Some(data.len()) {
            return Err(TensorSizeError {
                shape,
                elements: data.len(),
            });
        }
        Ok(Self {
            shape,
            data: Arc::new(data),
        })
    }

    /// A float32 tensor without axes.
    pub fn scalar(value: f32) -> Self {
        Self {
            shape: Vec::new(),
            data: Arc::new(TensorData::F32(vec![value])),
        }
    }

    /// A tensor with one axis.
    pub fn vector(data: impl Into<TensorData>) -> Self {
        let data = data.into();
        Self {
            shape: vec![data.len()],
            data: Arc::new(data),
        }
    }

    /// Sizes of the axes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, row-major.
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// Type of each element.
    pub fn element_type(&self) -> ElementType {
        self.data.element_type()
    }

    /// Element type and shape.
    pub fn tensor_type(&self) -> TensorType {
        TensorType::new(self.element_type(), self.shape.clone())
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether some axis has size 0.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The shape and the elements, without a copy unless another clone shares them.
    pub fn into_parts(self) -> (Vec<usize>, TensorData) {
        (self.shape, Arc::unwrap_or_clone(self.data))
    }

    /// The same elements in another shape.
    pub fn reshaped(self, shape: impl Into<Vec<usize>>) -> Result<Self, TensorSizeError> {
        let shape = shape.into();
        match element_count(&shape) == Some(self.data.len()) {
            true => Ok(Self { shape, ..self }),
            false => Err(TensorSizeError {
                shape,
                elements: self.data.len(),
            }),
        }
    }
}

macro_rules! views {
    ($($name:ident $variant:ident $element:ty),*) => {
        impl Tensor {
            $(
                /// The elements, if they have this type.
                pub fn $name(&self) -> Option<&[$element]> {
                    match &*self.data {
                        TensorData::$variant(v) => Some(v),
                        _ => None,
                    }
                }
            )*
        }
    };
}
views!(as_f32 F32 f32, as_f16 F16 f16, as_i64 I64 i64, as_i32 I32 i32, as_u8 U8 u8, as_i8 I8 i8, as_bool Bool bool);

/// The product of the sizes. `None` if the product, with sizes of 0 counted as 1, exceeds the
/// address range. This way no part of the shape overflows either.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    let checked = (shape.iter()).try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
    checked.filter(|&n| n <= isize::MAX as usize)?;
    Some(shape.iter().product())
}
