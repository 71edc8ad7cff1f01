//! ONNX's types, and the declared types of inputs and outputs.

use crate::onnx::{Dimension, TensorTypeProto, ValueInfoProto, data_type};
use crate::{ElementType, GraphError, Tensor, TensorType, Value};

pub(super) fn element_type(onnx: i32) -> Option<ElementType> {
    match onnx {
        data_type::FLOAT => Some(ElementType::F32),
        data_type::FLOAT16 => Some(ElementType::F16),
        data_type::INT64 => Some(ElementType::I64),
        data_type::INT32 => Some(ElementType::I32),
        data_type::UINT8 => Some(ElementType::U8),
        data_type::INT8 => Some(ElementType::I8),
        data_type::BOOL => Some(ElementType::Bool),
        _ => None,
    }
}

/// The name of a TensorProto.DataType, in lower case as in Python's `onnx` for NumPy types.
pub(super) fn type_name(onnx: i32) -> String {
    const NAMES: [&str; 24] = [
        "undefined",
        "float32",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "float64",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "uint4",
        "int4",
        "float4e2m1",
    ];
    match usize::try_from(onnx).ok().and_then(|i| NAMES.get(i)) {
        Some(name) => (*name).to_owned(),
        None => format!("number {onnx}"),
    }
}

fn declared(info: &ValueInfoProto) -> Option<&TensorTypeProto> {
    info.r#type.as_ref()?.tensor_type.as_ref()
}

/// The size, unless it is open: symbolic, absent, 0 or negative.
fn fixed(dim: &Dimension) -> Option<usize> {
    dim.dim_value
        .and_then(|v| usize::try_from(v).ok())
        .filter(|&v| v > 0)
}

fn declared_element_type(name: &str, of: &TensorTypeProto) -> Result<ElementType, GraphError> {
    element_type(of.elem_type).ok_or_else(|| GraphError::UnsupportedElementType {
        name: name.to_owned(),
        found: type_name(of.elem_type),
    })
}

/// The type of a graph input. An open batch axis becomes 1.
pub(super) fn input_type(input: &ValueInfoProto) -> Result<TensorType, GraphError> {
    let missing = || GraphError::MissingShape {
        input: input.name.clone(),
    };
    let of = declared(input).ok_or_else(missing)?;
    let element_type = declared_element_type(&input.name, of)?;
    let dims = &of.shape.as_ref().ok_or_else(missing)?.dim;
    let shape = (dims.iter().enumerate())
        .map(|(axis, dim)| match (fixed(dim), axis) {
            (Some(size), _) => Ok(size),
            (None, 0) => Ok(1),
            (None, _) => Err(GraphError::SymbolicAxis {
                input: input.name.clone(),
                axis,
                symbol: match (&dim.dim_param, dim.dim_value) {
                    (Some(symbol), _) => format!("`{symbol}`"),
                    (None, Some(value)) => value.to_string(),
                    (None, None) => "without a name".to_owned(),
                },
            }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(TensorType::new(element_type, shape))
}

fn fits(dims: &[Dimension], shape: &[usize]) -> bool {
    dims.len() == shape.len()
        && (dims.iter().zip(shape)).all(|(dim, &size)| fixed(dim).is_none_or(|d| d == size))
}

pub(super) fn check_binding(input: &ValueInfoProto, tensor: &Tensor) -> Result<(), GraphError> {
    let wrong = |problem| GraphError::WrongBinding {
        name: input.name.clone(),
        problem,
    };
    let Some(of) = declared(input) else {
        return Ok(());
    };
    if declared_element_type(&input.name, of)? != tensor.element_type() {
        return Err(wrong("the tensor is of another element type"));
    }
    match &of.shape {
        Some(shape) if !fits(&shape.dim, tensor.shape()) => {
            Err(wrong("the tensor is of another shape"))
        }
        _ => Ok(()),
    }
}

/// Checks that the declared type of an output matches the inferred type.
pub(super) fn check_output(output: &ValueInfoProto, value: &Value) -> Result<(), GraphError> {
    let Some(of) = declared(output) else {
        return Ok(());
    };
    let same_type = of.elem_type == 0 || element_type(of.elem_type) == Some(value.element_type);
    let same_shape = (of.shape.as_ref()).is_none_or(|s| fits(&s.dim, &value.shape));
    if same_type && same_shape {
        return Ok(());
    }
    let dims: Vec<String> = (of.shape.iter().flat_map(|s| &s.dim))
        .map(|d| fixed(d).map_or("?".to_owned(), |d| d.to_string()))
        .collect();
    Err(GraphError::WrongOutput {
        name: output.name.clone(),
        declared: format!("{} [{}]", type_name(of.elem_type), dims.join(", ")),
        inferred: value.tensor_type(),
    })
}
