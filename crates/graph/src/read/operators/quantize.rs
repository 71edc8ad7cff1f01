use super::{Reading, Site, axis};
use crate::onnx::data_type;
use crate::{Op, OpError, Tensor};

/// The axis is an attribute from opset 13 on. Before opset 13 there is only one scale. With a
/// single scale the axis has no effect; if it is outside the rank, it becomes 0.
fn scale_axis(site: &mut Site<'_>) -> Result<usize, OpError> {
    site.at_most(3, "2 or 3")?;
    if site.opset >= 21 && site.attributes.int("block_size")?.unwrap_or(0) != 0 {
        return Err(OpError::Unsupported {
            feature: "block quantization (block_size)",
        });
    }
    let given = match site.opset {
        ..13 => None,
        _ => site.attributes.int("axis")?,
    };
    let single = site.shape(1, "scale")?.iter().product::<usize>() == 1;
    match axis(given.unwrap_or(1), site.shape(0, "x")?) {
        Err(_) if single => Ok(0),
        other => other,
    }
}

pub(super) fn quantize(site: &mut Site<'_>) -> Result<Reading, OpError> {
    let axis = scale_axis(site)?;
    // Applies to 8-bit floats only.
    site.attributes.ignore("saturate");
    float32_only(site, "precision")?;
    let wanted = match site.opset {
        ..21 => 0,
        _ => site.attributes.int("output_dtype")?.unwrap_or(0),
    };
    let scale = site.shape(1, "y_scale")?.to_vec();
    let given = site.value(2).map(|v| v.element_type);
    let wrong = || OpError::Attribute {
        attribute: "output_dtype",
        found: wanted.to_string(),
        expected: "uint8 or int8, and the zero point's type",
    };
    let wanted = match i32::try_from(wanted).map_err(|_| wrong())? {
        0 => given,
        data_type::UINT8 => Some(crate::ElementType::U8),
        data_type::INT8 => Some(crate::ElementType::I8),
        _ => return Err(wrong()),
    };
    if given.is_some() && given != wanted {
        return Err(wrong());
    }
    // Without an explicit zero point, the output type would be uint8.
    let zero_point = match (given, wanted) {
        (None, Some(crate::ElementType::I8)) => {
            // The scale is a constant or an input, and its size has passed the limits.
            let zeros = vec![0i8; scale.iter().product()];
            Tensor::new(scale, zeros).ok()
        }
        _ => None,
    };
    let reading = site.simple(|_| Ok(Op::QuantizeLinear { axis }))?;
    Ok(Reading {
        zero_point,
        ..reading
    })
}

/// An attribute of opset 23 that names a type. Only float32, which is that of the scale, is
/// supported.
fn float32_only(site: &mut Site<'_>, attribute: &'static str) -> Result<(), OpError> {
    let given = match site.opset {
        ..23 => 0,
        _ => site.attributes.int(attribute)?.unwrap_or(0),
    };
    match given == 0 || given == i64::from(data_type::FLOAT) {
        true => Ok(()),
        false => Err(OpError::Attribute {
            attribute,
            found: given.to_string(),
            expected: "float32 (1)",
        }),
    }
}

pub(super) fn dequantize(site: &mut Site<'_>) -> Result<Op, OpError> {
    let axis = scale_axis(site)?;
    float32_only(site, "output_dtype")?;
    Ok(Op::DequantizeLinear { axis })
}
