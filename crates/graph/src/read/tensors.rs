//! Converts a TensorProto to a [`Tensor`].

use half::f16;

use super::types::{element_type, type_name};
use crate::external::{self, DataFiles};
use crate::onnx::{TensorProto, data_type};
use crate::tensor::element_count;
use crate::{ElementType, GraphError, Tensor, TensorData};

/// Rejects external data, even of tensors that no node needs, because other readers would load
/// it.
pub(super) fn refuse_external(name: &str, tensor: &TensorProto) -> Result<(), GraphError> {
    match external::is_external(tensor) {
        true => Err(GraphError::ExternalData { name: name.into() }),
        false => Ok(()),
    }
}

/// Moves the data of a tensor from its file into the message. Does nothing if the data is there.
///
/// # Errors
/// If there are no `files`, if the tensor has more than `max_elements`, or if its file cannot be
/// used.
pub(super) fn load(
    name: &str,
    tensor: &mut TensorProto,
    files: Option<&mut DataFiles>,
    max_elements: usize,
) -> Result<(), GraphError> {
    if !external::is_external(tensor) {
        return Ok(());
    }
    let files = files.ok_or_else(|| GraphError::ExternalData { name: name.into() })?;
    let size = match (tensor.data_type, element_type(tensor.data_type)) {
        (data_type::DOUBLE, _) => size_of::<f64>(),
        (_, Some(of)) => of.size(),
        (other, None) => {
            return Err(GraphError::UnsupportedElementType {
                name: name.into(),
                found: type_name(other),
            });
        }
    };
    let sizes = tensor.dims.iter().map(|&d| usize::try_from(d).ok());
    let elements = sizes
        .collect::<Option<Vec<_>>>()
        .and_then(|shape| element_count(&shape))
        .ok_or_else(|| GraphError::WrongTensorSize {
            name: name.into(),
            shape: tensor.dims.clone(),
            found: 0,
        })?;
    super::limits::limit(&format!("the value `{name}`"), elements, max_elements)?;
    external::load(name, tensor, elements.saturating_mul(size), files)
}

pub(super) fn read(name: &str, mut tensor: TensorProto) -> Result<Tensor, GraphError> {
    refuse_external(name, &tensor)?;
    if tensor.data_type == data_type::DOUBLE {
        narrow_double(&mut tensor);
    }
    let Some(of) = element_type(tensor.data_type) else {
        return Err(GraphError::UnsupportedElementType {
            name: name.into(),
            found: type_name(tensor.data_type),
        });
    };
    let wrong_size = |found| GraphError::WrongTensorSize {
        name: name.into(),
        shape: tensor.dims.clone(),
        found,
    };
    let shape = (tensor.dims.iter())
        .map(|&d| usize::try_from(d).ok())
        .collect::<Option<Vec<_>>>();
    let typed = match of {
        ElementType::F32 => tensor.float_data.len(),
        ElementType::I64 => tensor.int64_data.len(),
        _ => tensor.int32_data.len(),
    };
    let (found, rest) = match &tensor.raw_data {
        Some(raw) if typed == 0 => (raw.len() / of.size(), raw.len() % of.size()),
        Some(raw) => (typed, raw.len()),
        None => (typed, 0),
    };
    let shape = match shape {
        Some(shape) if rest == 0 && element_count(&shape) == Some(found) => shape,
        _ => return Err(wrong_size(found)),
    };
    let data = match tensor.raw_data.filter(|_| typed == 0) {
        Some(raw) => from_raw(of, raw),
        None => match of {
            ElementType::F32 => TensorData::F32(tensor.float_data),
            ElementType::I64 => TensorData::I64(tensor.int64_data),
            ElementType::I32 => TensorData::I32(tensor.int32_data),
            ElementType::F16 | ElementType::U8 => narrow(name, of, &tensor.int32_data)?,
            ElementType::I8 => narrow(name, of, &tensor.int32_data)?,
            ElementType::Bool => {
                TensorData::Bool(tensor.int32_data.into_iter().map(|v| v != 0).collect())
            }
        },
    };
    let found = data.len();
    Tensor::new(shape, data).map_err(|e| GraphError::WrongTensorSize {
        name: name.into(),
        shape: e.shape.iter().map(|&d| d as i64).collect(),
        found,
    })
}

/// Rounds a float64 tensor to float32. What float32 cannot hold becomes infinite.
fn narrow_double(tensor: &mut TensorProto) {
    let wide = match (tensor.raw_data.take(), tensor.double_data.is_empty()) {
        // Bytes that are no whole number make the length wrong, which is an error later.
        (Some(raw), true) if raw.len() % size_of::<f64>() == 0 => {
            words(&raw).map(f64::from_le_bytes).collect()
        }
        (None, _) => std::mem::take(&mut tensor.double_data),
        (raw, _) => {
            tensor.raw_data = raw;
            return;
        }
    };
    tensor.float_data = wide.into_iter().map(|x| x as f32).collect();
    tensor.data_type = data_type::FLOAT;
}

/// The elements of raw data, which ONNX defines as little-endian.
fn from_raw(of: ElementType, raw: Vec<u8>) -> TensorData {
    match of {
        ElementType::F32 => TensorData::F32(words(&raw).map(f32::from_le_bytes).collect()),
        ElementType::F16 => TensorData::F16(words(&raw).map(f16::from_le_bytes).collect()),
        ElementType::I64 => TensorData::I64(words(&raw).map(i64::from_le_bytes).collect()),
        ElementType::I32 => TensorData::I32(words(&raw).map(i32::from_le_bytes).collect()),
        ElementType::U8 => TensorData::U8(raw),
        ElementType::I8 => TensorData::I8(raw.into_iter().map(|b| b as i8).collect()),
        ElementType::Bool => TensorData::Bool(raw.into_iter().map(|b| b != 0).collect()),
    }
}

fn words<const N: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; N]> {
    raw.as_chunks().0.iter().copied()
}

/// The elements of an 8-bit or float16 tensor. ONNX stores each element, or the bits of each
/// float16, in one entry of int32_data.
fn narrow(name: &str, of: ElementType, wide: &[i32]) -> Result<TensorData, GraphError> {
    fn each<T: TryFrom<i32>>(name: &str, wide: &[i32]) -> Result<Vec<T>, GraphError> {
        (wide.iter().enumerate())
            .map(|(index, &value)| {
                T::try_from(value).map_err(|_| GraphError::OutOfRange {
                    name: name.into(),
                    index,
                    value,
                })
            })
            .collect()
    }
    match of {
        ElementType::F16 => {
            let bits: Vec<u16> = each(name, wide)?;
            Ok(TensorData::F16(
                bits.into_iter().map(f16::from_bits).collect(),
            ))
        }
        ElementType::U8 => each(name, wide).map(TensorData::U8),
        _ => each(name, wide).map(TensorData::I8),
    }
}

/// Whether all elements are 0 or -infinity, as in the masks that are added to attention's scores.
pub(super) fn is_mask(tensor: &Tensor) -> bool {
    let masked = |x: f32| x == 0.0 || x == f32::NEG_INFINITY;
    match tensor.data() {
        TensorData::F32(v) => v.iter().all(|&x| masked(x)),
        TensorData::F16(v) => v.iter().all(|x| masked(x.to_f32())),
        _ => false,
    }
}

/// Checks that weights are finite. A single infinity is accepted, because limits of Clip and the
/// value of Pad may be infinite.
pub(super) fn check_finite(name: &str, tensor: &Tensor) -> Result<(), GraphError> {
    let single = tensor.len() == 1;
    let bad = |v: f32| v.is_nan() || v.is_infinite() && !single;
    let found = match tensor.data() {
        TensorData::F32(v) => v.iter().copied().enumerate().find(|&(_, v)| bad(v)),
        TensorData::F16(v) => {
            let wide = v.iter().map(|v| v.to_f32());
            wide.enumerate().find(|&(_, v)| bad(v))
        }
        _ => None,
    };
    match found {
        Some((index, value)) => Err(GraphError::NotFinite {
            name: name.into(),
            index,
            value,
        }),
        None => Ok(()),
    }
}
