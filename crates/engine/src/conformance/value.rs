//! Tensors and functions in f64, by their definitions.

use crate::plan::{Activation, ConstantData, ConstantId, Function, Plan, Window};

/// A tensor in f64; integers are exact up to 2^53.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Sizes in memory order.
    pub shape: Vec<usize>,
    /// Row-major elements.
    pub data: Vec<f64>,
}

impl Value {
    pub(super) fn at(&self, index: &[usize]) -> f64 {
        let place = index
            .iter()
            .zip(&self.shape)
            .fold(0, |place, (index, size)| place * size + index);
        self.data[place]
    }

    /// The element at an index of the broadcast shape.
    pub(super) fn broadcast(&self, index: &[usize]) -> f64 {
        let index: Vec<usize> = index[index.len() - self.shape.len()..]
            .iter()
            .zip(&self.shape)
            .map(|(&index, &size)| if size == 1 { 0 } else { index })
            .collect();
        self.at(&index)
    }

    pub(super) fn build(shape: &[usize], mut element: impl FnMut(&[usize]) -> f64) -> Self {
        let count = shape.iter().product();
        let data = (0..count)
            .map(|place: usize| {
                let mut rest = place;
                let mut index = vec![0; shape.len()];
                for axis in (0..shape.len()).rev() {
                    index[axis] = rest % shape[axis];
                    rest /= shape[axis];
                }
                element(&index)
            })
            .collect();
        Self {
            shape: shape.to_vec(),
            data,
        }
    }

    /// As [`broadcast`](Self::broadcast), but the last two axes are not broadcast.
    pub(super) fn broadcast_matrix(&self, index: &[usize]) -> f64 {
        let lead = self.shape.len() - 2;
        let index = &index[index.len() - self.shape.len()..];
        let mut source: Vec<usize> = index[..lead]
            .iter()
            .zip(&self.shape)
            .map(|(&index, &size)| if size == 1 { 0 } else { index })
            .collect();
        source.extend(&index[lead..]);
        self.at(&source)
    }
}

pub(super) fn constant(plan: &Plan, id: ConstantId) -> Value {
    let constant = &plan.constants[id.0];
    let data = match &constant.data {
        ConstantData::F32(data) => data.iter().map(|&x| x.into()).collect(),
        ConstantData::F16(data) => data.iter().map(|&x| x.into()).collect(),
        ConstantData::I64(data) => data.iter().map(|&x| x as f64).collect(),
        ConstantData::I32(data) => data.iter().map(|&x| x.into()).collect(),
        ConstantData::U8(data) => data.iter().map(|&x| x.into()).collect(),
        ConstantData::I8(data) => data.iter().map(|&x| x.into()).collect(),
    };
    Value {
        shape: constant.shape.clone(),
        data,
    }
}

pub(super) fn curve(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu { alpha } if x < 0.0 => f64::from(alpha) * x,
        Activation::Elu { alpha } if x < 0.0 => f64::from(alpha) * x.exp_m1(),
        Activation::LeakyRelu { .. } | Activation::Elu { .. } => x,
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::HardSigmoid { alpha, beta } => {
            (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
        }
        Activation::Tanh => x.tanh(),
        Activation::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Function(function) => call(function, x),
        Activation::Clip { min, max } => {
            let x = min.map_or(x, |min| x.max(min.into()));
            max.map_or(x, |max| x.min(max.into()))
        }
    }
}

fn call(function: Function, x: f64) -> f64 {
    match function {
        Function::Abs => x.abs(),
        Function::Acos => x.acos(),
        Function::Acosh => x.acosh(),
        Function::Asin => x.asin(),
        Function::Asinh => x.asinh(),
        Function::Atan => x.atan(),
        Function::Atanh => x.atanh(),
        Function::Ceil => x.ceil(),
        Function::Cos => x.cos(),
        Function::Cosh => x.cosh(),
        Function::Erf => libm::erf(x),
        Function::Exp => x.exp(),
        Function::Floor => x.floor(),
        Function::Log => x.ln(),
        Function::Round => x.round_ties_even(),
        Function::Sign if x == 0.0 => 0.0,
        Function::Sign => x.signum(),
        Function::Sin => x.sin(),
        Function::Sinh => x.sinh(),
        Function::Sqrt => x.sqrt(),
        Function::Tan => x.tan(),
    }
}

/// The input index of a tap, if it is inside the input.
pub(super) fn tap(
    window: Window,
    axis: usize,
    output: usize,
    tap: usize,
    size: usize,
) -> Option<usize> {
    let place = (output * window.strides[axis] + tap * window.dilations[axis]) as i64
        - window.pads[axis] as i64;
    (0..size as i64).contains(&place).then_some(place as usize)
}
