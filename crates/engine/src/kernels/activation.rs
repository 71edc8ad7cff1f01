//! Activation functions, element by element.

mod exponential;

pub(crate) use exponential::exp;

use crate::plan::{Activation, Function};

/// The activation function of one value. A NaN remains a NaN, so that the guard sees it.
#[inline(always)]
pub(crate) fn at(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::None => x,
        Activation::Relu => at_least(x, 0.0),
        Activation::LeakyRelu { alpha } => {
            if x < 0.0 {
                alpha * x
            } else {
                x
            }
        }
        Activation::Elu { alpha } => {
            let small = alpha * exponential::expm1_of_negative(at_most(x, 0.0));
            if x < 0.0 { small } else { x }
        }
        Activation::Sigmoid => exponential::sigmoid(x),
        Activation::HardSigmoid { alpha, beta } => at_most(at_least(alpha * x + beta, 0.0), 1.0),
        Activation::Tanh => exponential::tanh(x),
        // ln(1 + exp(x)), of which exp(x) would overflow.
        Activation::Softplus => at_least(x, 0.0) + libm::log1pf(libm::expf(-x.abs())),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Function(function) => call(function, x),
        Activation::Clip { min, max } => {
            // As in ONNX, the upper limit is the result where min > max.
            at_most(
                at_least(x, min.unwrap_or(f32::NEG_INFINITY)),
                max.unwrap_or(f32::INFINITY),
            )
        }
    }
}

#[inline(always)]
fn call(function: Function, x: f32) -> f32 {
    match function {
        Function::Abs => x.abs(),
        Function::Acos => libm::acosf(x),
        Function::Acosh => libm::acoshf(x),
        Function::Asin => libm::asinf(x),
        Function::Asinh => libm::asinhf(x),
        Function::Atan => libm::atanf(x),
        Function::Atanh => libm::atanhf(x),
        Function::Ceil => x.ceil(),
        Function::Cos => libm::cosf(x),
        Function::Cosh => libm::coshf(x),
        Function::Erf => exponential::erf(x),
        Function::Exp => exp(x),
        Function::Floor => x.floor(),
        Function::Log => libm::logf(x),
        Function::Round => x.round_ties_even(),
        // A NaN is neither, and 0 keeps its sign.
        Function::Sign if x > 0.0 => 1.0,
        Function::Sign if x < 0.0 => -1.0,
        Function::Sign => x,
        Function::Sin => libm::sinf(x),
        Function::Sinh => libm::sinhf(x),
        Function::Sqrt => x.sqrt(),
        Function::Tan => libm::tanf(x),
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

/// Applies the activation function to `data` in place.
#[inline(always)]
pub(crate) fn apply(activation: Activation, data: &mut [f32]) {
    // One loop for each function, so that those without calls are vectorised; not `for_each`, which
    // is not always inlined, and then lacks the caller's instruction set.
    macro_rules! each {
        ($activation:expr) => {
            for x in data {
                *x = at($activation, *x);
            }
        };
    }
    match activation {
        Activation::None => {}
        Activation::Relu => each!(Activation::Relu),
        Activation::LeakyRelu { alpha } => each!(Activation::LeakyRelu { alpha }),
        Activation::Elu { alpha } => each!(Activation::Elu { alpha }),
        Activation::Sigmoid => each!(Activation::Sigmoid),
        Activation::HardSigmoid { alpha, beta } => each!(Activation::HardSigmoid { alpha, beta }),
        Activation::Tanh => each!(Activation::Tanh),
        Activation::Softplus => each!(Activation::Softplus),
        Activation::Softsign => each!(Activation::Softsign),
        // The functions without calls are vectorised.
        Activation::Function(Function::Erf) => each!(Activation::Function(Function::Erf)),
        Activation::Function(Function::Exp) => each!(Activation::Function(Function::Exp)),
        Activation::Function(Function::Abs) => each!(Activation::Function(Function::Abs)),
        Activation::Function(Function::Sqrt) => each!(Activation::Function(Function::Sqrt)),
        Activation::Function(function) => each!(Activation::Function(function)),
        Activation::Clip { min, max } => each!(Activation::Clip { min, max }),
    }
}
