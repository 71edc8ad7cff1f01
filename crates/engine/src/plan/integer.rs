//! Validates integer operations, and conversions between integers and floating point.

use super::check::Check;
use super::error::PlanError;
use super::{Constant, ConstantData, ConstantId, Epilogue, Operation};
use crate::ElementType::{self, F32, I8, I32};

/// The largest product of two 8-bit integers.
const LARGEST_PRODUCT: u64 = 128 * 128;
/// Number of entries of a table.
const TABLE_LEN: usize = 256;

/// Number of inputs of a layer with this epilogue.
pub(super) fn inputs(finish: &Epilogue) -> usize {
    match finish {
        Epilogue::Int8 { .. } | Epilogue::Float { .. } => 1,
        Epilogue::Dynamic { .. } => 2,
    }
}

/// A layer's constants.
struct Layer<'a> {
    weights: ConstantId,
    bias: Option<ConstantId>,
    multiplier: ConstantId,
    finish: &'a Epilogue,
}

impl Check<'_> {
    /// Checks an integer operation and returns the amount of work.
    pub(super) fn integer(
        &self,
        input: &[usize],
        input_type: ElementType,
    ) -> Result<u64, PlanError> {
        let written = self.output.shape.iter().map(|&size| size as u64).product();
        match &self.step.operation {
            Operation::QuantizedConv2d {
                weights,
                bias,
                multiplier,
                window,
                groups,
                finish,
            } => {
                let layer = Layer {
                    weights: *weights,
                    bias: *bias,
                    multiplier: *multiplier,
                    finish,
                };
                self.types("input", input_type, &[I8])?;
                let depth = self.grouped_window(input, *window, *groups)?;
                let [height, width] = window.kernel;
                let units = self.output.shape[3];
                self.layer(&layer, &[units, height, width, depth], written)
            }
            Operation::QuantizedFullyConnected {
                weights,
                bias,
                multiplier,
                finish,
            } => {
                let layer = Layer {
                    weights: *weights,
                    bias: *bias,
                    multiplier: *multiplier,
                    finish,
                };
                self.types("input", input_type, &[I8])?;
                let (units, depth) = self.rows(input)?;
                self.layer(&layer, &[units, depth], written)
            }
            Operation::Lookup { table } => {
                self.types("input", input_type, &[I8])?;
                self.same_type(input_type)?;
                self.same_shape(input)?;
                self.constant(*table, "table", &[I8], &[TABLE_LEN])?;
                Ok(written)
            }
            Operation::DynamicScale => {
                self.types("input", input_type, &[F32])?;
                self.types("output", self.output.element_type, &[F32])?;
                if self.output.shape != [1] {
                    return self.shape("output", &self.output.shape);
                }
                Ok(input.iter().map(|&size| size as u64).product())
            }
            Operation::QuantizedAdd {
                scales,
                scale,
                low,
                high,
            } => {
                self.types("output", self.output.element_type, &[I8])?;
                self.number(low <= high, "limits", "the low one not above the high one")?;
                let one_scale = |scale| {
                    self.scales(input, 0, scale, None, I8)?;
                    self.constant(scale, "scale", &[F32], &[1])
                };
                one_scale(*scale)?;
                for (&operand, scale) in self.step.inputs.iter().zip(scales) {
                    let (shape, element_type) = self.plan.spec(operand);
                    self.same_shape(shape)?;
                    match scale {
                        None => self.types("input", element_type, &[F32])?,
                        Some(scale) => {
                            self.types("input", element_type, &[I8])?;
                            one_scale(*scale)?;
                        }
                    }
                }
                Ok(written)
            }
            _ => {
                self.types("input", input_type, &[F32])?;
                self.types("output", self.output.element_type, &[I8])?;
                self.same_shape(input)?;
                self.run_time_scale()?;
                Ok(written)
            }
        }
    }

    /// Checks a layer's constants. `weights` is their shape (units, ..taps).
    fn layer(&self, layer: &Layer<'_>, weights: &[usize], written: u64) -> Result<u64, PlanError> {
        let (units, taps) = (weights[0], &weights[1..]);
        self.constant(layer.weights, "weights", &[I8], weights)?;
        self.constant(layer.multiplier, "multiplier", &[F32], &[units])?;
        if let ConstantData::F32(data) = &self.find(layer.multiplier, "multiplier")?.data {
            let in_range = |&m: &f32| m >= 0.0 && m.is_finite();
            self.number(data.iter().all(in_range), "multiplier", "finite, 0 or more")?;
        }
        let mut largest = 0_u64;
        if let Some(bias) = layer.bias {
            self.constant(bias, "bias", &[I32], &[units])?;
            if let ConstantData::I32(data) = &self.find(bias, "bias")?.data {
                let most = data.iter().map(|b| b.unsigned_abs()).max().unwrap_or(0);
                largest = u64::from(most);
            }
        }
        let depth: u64 = taps.iter().map(|&size| size as u64).product();
        largest = largest.saturating_add(depth.saturating_mul(LARGEST_PRODUCT));
        self.number(
            largest <= i32::MAX as u64,
            "weights and bias",
            "so few and small that a 32-bit sum cannot overflow",
        )?;
        match layer.finish {
            Epilogue::Int8 { low, high } => {
                self.types("output", self.output.element_type, &[I8])?;
                self.number(low <= high, "limits", "the low one not above the high one")?;
            }
            Epilogue::Float { activation } => {
                self.types("output", self.output.element_type, &[F32])?;
                self.activation(*activation)?;
            }
            Epilogue::Dynamic { bias, activation } => {
                self.types("output", self.output.element_type, &[F32])?;
                self.activation(*activation)?;
                if let Some(bias) = bias {
                    self.constant(*bias, "bias", &[F32], &[units])?;
                }
                self.run_time_scale()?;
            }
        }
        Ok(written.saturating_mul(depth))
    }

    /// Checks that the second input is one f32.
    fn run_time_scale(&self) -> Result<(), PlanError> {
        let (shape, element_type) = self.plan.spec(self.step.inputs[1]);
        self.types("scale", element_type, &[F32])?;
        if shape != [1] {
            return self.shape("scale", shape);
        }
        Ok(())
    }
}

impl Check<'_> {
    /// Checks the scales and zero points of a conversion from or to `quantized`.
    pub(super) fn scales(
        &self,
        input: &[usize],
        axis: usize,
        scale: ConstantId,
        zero_point: Option<ConstantId>,
        quantized: ElementType,
    ) -> Result<(), PlanError> {
        let Constant { shape, data } = self.find(scale, "scale")?;
        self.types("scale", data.element_type(), &[F32])?;
        let fits = data.len() == 1 || input.get(axis) == Some(&data.len());
        if !fits {
            return self.shape("scale", shape);
        }
        if let ConstantData::F32(scales) = data {
            self.number(
                scales.iter().all(|&scale| scale > 0.0 && scale.is_finite()),
                "scale",
                "positive and finite",
            )?;
        }
        if let Some(zero_point) = zero_point {
            let Constant {
                shape,
                data: zero_points,
            } = self.find(zero_point, "zero point")?;
            self.types("zero point", zero_points.element_type(), &[quantized])?;
            if zero_points.len() != data.len() {
                return self.shape("zero point", shape);
            }
        }
        Ok(())
    }
}
