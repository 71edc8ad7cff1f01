//! The activation functions that a recurrent layer names in its attributes.

use crate::read::composite::{Composer, Source};
use crate::read::operators::Site;
use crate::{Comparison, Op, OpError};

/// A function with its numbers.
#[derive(Clone, Copy)]
enum Activation {
    Relu,
    Tanh,
    Sigmoid,
    Softsign,
    Softplus,
    Affine { alpha: f32, beta: f32 },
    LeakyRelu { alpha: f32 },
    ThresholdedRelu { alpha: f32 },
    ScaledTanh { alpha: f32, beta: f32 },
    HardSigmoid { alpha: f32, beta: f32 },
    Elu { alpha: f32 },
}

/// The activations of one direction.
pub(super) struct Activations(Vec<Activation>);

/// Reads the activations of all directions. `default` are those of one direction.
pub(super) fn read(
    site: &mut Site<'_>,
    default: &[&str],
    directions: usize,
) -> Result<Vec<Activations>, OpError> {
    let names = site.attributes.strings("activations")?;
    let alphas = site.attributes.floats("activation_alpha")?;
    let betas = site.attributes.floats("activation_beta")?;
    let names = match names {
        Some(names) if names.len() != default.len() * directions => {
            return Err(OpError::Attribute {
                attribute: "activations",
                found: format!("{names:?}"),
                expected: "three (LSTM), two (GRU) or one (RNN) for each direction",
            });
        }
        Some(names) => names,
        None => (default.iter().map(|&name| name.to_owned()))
            .cycle()
            .take(default.len() * directions)
            .collect(),
    };
    // Each function takes the next number that it needs.
    let mut alphas = alphas.unwrap_or_default().into_iter();
    let mut betas = betas.unwrap_or_default().into_iter();
    let mut all = Vec::with_capacity(names.len());
    for name in &names {
        all.push(activation(name, &mut alphas, &mut betas)?);
    }
    let each = all.chunks(default.len());
    Ok(each.map(|one| Activations(one.to_vec())).collect())
}

fn activation(
    name: &str,
    alphas: &mut impl Iterator<Item = f32>,
    betas: &mut impl Iterator<Item = f32>,
) -> Result<Activation, OpError> {
    let mut alpha = |default| alphas.next().unwrap_or(default);
    let mut beta = |default| betas.next().unwrap_or(default);
    // The defaults are those of the operators of the same name. ONNX Runtime ignores case.
    let activation = match name.to_ascii_lowercase().as_str() {
        "relu" => Activation::Relu,
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        "softsign" => Activation::Softsign,
        "softplus" => Activation::Softplus,
        "affine" => Activation::Affine {
            alpha: alpha(1.0),
            beta: beta(0.0),
        },
        "leakyrelu" => Activation::LeakyRelu { alpha: alpha(0.01) },
        "thresholdedrelu" => Activation::ThresholdedRelu { alpha: alpha(1.0) },
        "scaledtanh" => Activation::ScaledTanh {
            alpha: alpha(1.0),
            beta: beta(1.0),
        },
        "hardsigmoid" => Activation::HardSigmoid {
            alpha: alpha(0.2),
            beta: beta(0.5),
        },
        "elu" => Activation::Elu { alpha: alpha(1.0) },
        _ => {
            return Err(OpError::Attribute {
                attribute: "activations",
                found: name.chars().take(40).collect(),
                expected: "functions of ONNX: Relu, Tanh, Sigmoid, Affine, LeakyRelu, \
                           ThresholdedRelu, ScaledTanh, HardSigmoid, Elu, Softsign or Softplus",
            });
        }
    };
    Ok(activation)
}

impl Activations {
    /// The function at `index`, applied to x.
    pub(super) fn apply(
        &self,
        c: &mut Composer<'_>,
        index: usize,
        x: Source,
    ) -> Result<Source, OpError> {
        match self.0[index] {
            Activation::Relu => c.then(Op::Relu, x),
            Activation::Tanh => c.then(Op::Tanh, x),
            Activation::Sigmoid => c.then(Op::Sigmoid, x),
            Activation::Softsign => c.then(Op::Softsign, x),
            Activation::Softplus => c.then(Op::Softplus, x),
            Activation::Affine { alpha, beta } => {
                let scaled = c.with(Op::Mul, x, alpha)?;
                c.with(Op::Add, scaled, beta)
            }
            Activation::LeakyRelu { alpha } => c.then(Op::LeakyRelu { alpha }, x),
            Activation::ThresholdedRelu { alpha } => {
                let threshold = c.number(x, alpha)?;
                let above = Op::Compare(Comparison::Greater);
                let above = c.node(above, &[x, threshold])?;
                let zero = c.number(x, 0.0)?;
                c.node(Op::Where, &[above, x, zero])
            }
            Activation::ScaledTanh { alpha, beta } => {
                let scaled = c.with(Op::Mul, x, beta)?;
                let tanh = c.then(Op::Tanh, scaled)?;
                c.with(Op::Mul, tanh, alpha)
            }
            Activation::HardSigmoid { alpha, beta } => c.then(Op::HardSigmoid { alpha, beta }, x),
            Activation::Elu { alpha } => c.then(Op::Elu { alpha }, x),
        }
    }
}
