//! Functions of one element and their derivatives. The functions are those of the engine, bit for
//! bit: a quantised network computes its tables of activations with them.

use pilotage_graph::Function;

use super::Accumulate;

/// A function of one element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Unary {
    Relu,
    LeakyRelu { alpha: f32 },
    Elu { alpha: f32 },
    Sigmoid,
    HardSigmoid { alpha: f32, beta: f32 },
    Tanh,
    Softplus,
    Softsign,
    Clip { min: f32, max: f32 },
    Function(Function),
}

impl Unary {
    /// Whether the derivative follows from the function's value, so that the value may replace
    /// its argument in memory.
    pub(crate) fn is_known_from_value(self) -> bool {
        match self {
            Self::Relu | Self::Sigmoid | Self::Tanh => true,
            Self::LeakyRelu { alpha } | Self::Elu { alpha } => alpha > 0.0,
            _ => false,
        }
    }

    #[inline(always)]
    pub(crate) fn at(self, x: f32) -> f32 {
        match self {
            Self::Relu => at_least(x, 0.0),
            Self::LeakyRelu { alpha } if x < 0.0 => alpha * x,
            Self::Elu { alpha } if x < 0.0 => alpha * libm::expm1f(x),
            Self::LeakyRelu { .. } | Self::Elu { .. } => x,
            Self::Sigmoid => 1.0 / (1.0 + libm::expf(-x)),
            Self::HardSigmoid { alpha, beta } => at_most(at_least(alpha * x + beta, 0.0), 1.0),
            Self::Tanh => libm::tanhf(x),
            Self::Softplus => at_least(x, 0.0) + libm::log1pf(libm::expf(-x.abs())),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Clip { min, max } => at_most(at_least(x, min), max),
            Self::Function(function) => function.at(x),
        }
    }

    /// The derivative at `x`, where the function has the value `y`. Functions whose derivative is
    /// known from the value alone may be passed the value as `x`. At a kink it is that of
    /// PyTorch: 0 for Relu, 1 at the limits of Clip, 0 for steps.
    #[inline(always)]
    pub(crate) fn derivative(self, x: f32, y: f32) -> f32 {
        let inside = |yes: bool| if yes { 1.0 } else { 0.0 };
        match self {
            Self::Relu => inside(y > 0.0),
            Self::LeakyRelu { alpha } => {
                if x > 0.0 {
                    1.0
                } else {
                    alpha
                }
            }
            Self::Elu { .. } if x > 0.0 => 1.0,
            Self::Elu { alpha } => y + alpha,
            Self::Sigmoid => y * (1.0 - y),
            Self::HardSigmoid { alpha, .. } => alpha * inside(y > 0.0 && y < 1.0),
            Self::Tanh => 1.0 - y * y,
            Self::Softplus => 1.0 / (1.0 + libm::expf(-x)),
            Self::Softsign => 1.0 / ((1.0 + x.abs()) * (1.0 + x.abs())),
            Self::Clip { min, max } => inside(x >= min && x <= max),
            Self::Function(function) => derivative(function, x, y),
        }
    }

    pub(crate) fn forward(self, input: &[f32], output: &mut [f32]) {
        let both = output.iter_mut().zip(input);
        match self {
            // One loop for each simple function, so that it is vectorised.
            Self::Relu => both.for_each(|(y, &x)| *y = Self::Relu.at(x)),
            Self::LeakyRelu { alpha } => {
                both.for_each(|(y, &x)| *y = Self::LeakyRelu { alpha }.at(x));
            }
            Self::Clip { min, max } => both.for_each(|(y, &x)| *y = Self::Clip { min, max }.at(x)),
            other => both.for_each(|(y, &x)| *y = other.at(x)),
        }
    }

    /// Replaces each element by its function.
    pub(crate) fn forward_in_place(self, data: &mut [f32]) {
        match self {
            Self::Relu => data.iter_mut().for_each(|x| *x = Self::Relu.at(*x)),
            other => data.iter_mut().for_each(|x| *x = other.at(*x)),
        }
    }

    pub(crate) fn backward(
        self,
        (input, output): (&[f32], &[f32]),
        gradient: &[f32],
        to: &mut [f32],
        accumulate: Accumulate,
    ) {
        let values = input.iter().zip(output);
        for ((to, g), (&x, &y)) in to.iter_mut().zip(gradient).zip(values) {
            accumulate.put(to, g * self.derivative(x, y));
        }
    }

    /// Multiplies the gradient by the derivative, which is known from the function's values.
    pub(crate) fn backward_in_place(self, output: &[f32], gradient: &mut [f32]) {
        let both = gradient.iter_mut().zip(output);
        match self {
            Self::Relu => both.for_each(|(g, &y)| *g = if y > 0.0 { *g } else { 0.0 }),
            other => both.for_each(|(g, &y)| *g *= other.derivative(y, y)),
        }
    }
}

fn derivative(function: Function, x: f32, y: f32) -> f32 {
    let reciprocal_root = |square: f32| 1.0 / square.sqrt();
    match function {
        // 2 / sqrt(pi)
        Function::Erf => std::f32::consts::FRAC_2_SQRT_PI * libm::expf(-x * x),
        Function::Abs => Function::Sign.at(x),
        Function::Acos => -reciprocal_root(1.0 - x * x),
        Function::Acosh => reciprocal_root(x * x - 1.0),
        Function::Asin => reciprocal_root(1.0 - x * x),
        Function::Asinh => reciprocal_root(x * x + 1.0),
        Function::Atan => 1.0 / (1.0 + x * x),
        Function::Atanh => 1.0 / (1.0 - x * x),
        Function::Cos => -libm::sinf(x),
        Function::Cosh => libm::sinhf(x),
        Function::Exp => y,
        Function::Log => 1.0 / x,
        Function::Sin => libm::cosf(x),
        Function::Sinh => libm::coshf(x),
        Function::Sqrt => 0.5 / y,
        Function::Tan => 1.0 + y * y,
        Function::Ceil | Function::Floor | Function::Round | Function::Sign => 0.0,
    }
}

#[inline(always)]
fn at_least(x: f32, limit: f32) -> f32 {
    if x < limit { limit } else { x }
}

#[inline(always)]
fn at_most(x: f32, limit: f32) -> f32 {
    if x > limit { limit } else { x }
}
