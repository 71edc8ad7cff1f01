//! Operators that multiply with weights.

use half::f16;
use pilotage_engine::ElementType;
use pilotage_engine::plan::{
    Activation, BinaryOperator, ConstantData, ConstantId, Operand, Operation, Window,
};
use pilotage_graph::{Conv, Gemm, Node, ValueId};

use super::forms::{Form, Lowering};
use super::quantized::{self, Parts};
use super::{LowerError, Weights};
use crate::affine::from_batch_normalization;
use crate::permute::{TO_NHWC, permute, pick};

pub(super) fn conv(l: &mut Lowering<'_>, node: &Node, conv: &Conv) -> Result<(), LowerError> {
    let window = Window {
        kernel: conv.kernel,
        strides: conv.strides,
        pads: [conv.pads[0], conv.pads[1]],
        dilations: conv.dilations,
    };
    let groups = conv.groups;
    let shape = l.shape(node.inputs[1]);
    let parts = Parts {
        weights: node.inputs[1],
        bias: node.inputs.get(2).copied(),
        axis: 0,
        factor: 1.0,
    };
    if let Some(layer) = quantized::layer(l, node.inputs[0], &parts) {
        let weights = permute(layer.weights, shape, &TO_NHWC);
        let weights = (pick(shape, &TO_NHWC), weights);
        let stored = quantized::store(l, node, (&layer, &parts), Form::Nhwc, weights)?;
        let operation = Operation::QuantizedConv2d {
            weights: stored.weights,
            bias: stored.bias,
            multiplier: stored.multiplier,
            window,
            groups,
            finish: stored.finish,
        };
        l.make(node, operation, stored.inputs, Form::Nhwc);
        return Ok(());
    }
    let x = l.get(node.inputs[0], Form::Nhwc);
    let weights = l.parameter(node, node.inputs[1], "weights")?;
    let weights = permute(weights, shape, &TO_NHWC);
    let weights = store_weights(l, pick(shape, &TO_NHWC), weights);
    let bias = match node.inputs.get(2) {
        Some(&value) => {
            let bias = l.parameter(node, value, "bias")?.to_vec();
            Some(l.store_f32(vec![bias.len()], bias))
        }
        None => None,
    };
    let operation = Operation::Conv2d {
        weights,
        bias,
        window,
        groups,
        activation: Activation::None,
    };
    l.make(node, operation, vec![x], Form::Nhwc);
    Ok(())
}

pub(super) fn gemm(l: &mut Lowering<'_>, node: &Node, gemm: &Gemm) -> Result<(), LowerError> {
    let (a, b) = (node.inputs[0], node.inputs[1]);
    let output = l.shape(node.outputs[0]);
    let (rows, columns) = (output[0], output[1]);
    let c = node.inputs.get(2).copied().filter(|_| gemm.beta != 0.0);
    if !gemm.transpose_a && (gemm.beta == 1.0 || c.is_none()) && gemm.alpha > 0.0 {
        let parts = Parts {
            weights: b,
            bias: c,
            axis: usize::from(!gemm.transpose_b),
            factor: gemm.alpha,
        };
        // The bias is added to the product of weights and input, which alpha scales.
        let simple = gemm.alpha == 1.0 || c.is_none();
        if simple && quantized_rows(l, node, &parts)? {
            return Ok(());
        }
    }
    let weights = l.constant(b).and_then(|tensor| tensor.as_f32());
    let Some(weights) = weights else {
        gemm_at_run_time(l, node, gemm, c);
        return Ok(());
    };

    let b_shape = l.shape(b);
    let mut weights = match gemm.transpose_b {
        true => weights.to_vec(),
        false => permute(weights, b_shape, &[1, 0]),
    };
    if gemm.alpha != 1.0 {
        weights.iter_mut().for_each(|w| *w *= gemm.alpha);
    }
    let bias = c.and_then(|c| row_of(l, c, rows, columns));
    let added_after = c.filter(|_| bias.is_none());
    let bias = bias.map(|mut bias| {
        bias.iter_mut().for_each(|b| *b *= gemm.beta);
        l.store_f32(vec![columns], bias)
    });

    let (form, x) = match gemm.transpose_a {
        true => {
            let plain = l.get(a, Form::Plain);
            let shape = l.shape(a);
            (Form::Plain, l.transpose(&node.name, plain, shape, &[1, 0]))
        }
        false => any_flat_form(l, a),
    };
    let weights = store_columns(l, weights, columns, form);
    let operation = Operation::FullyConnected {
        weights,
        bias,
        activation: Activation::None,
    };
    let product = l.step(
        &node.name,
        operation,
        vec![x],
        output.to_vec(),
        ElementType::F32,
    );
    let sum = match added_after {
        Some(c) => add_scaled(l, node, product, c, gemm.beta),
        None => product,
    };
    l.set(node.outputs[0], Form::Plain, sum);
    Ok(())
}

/// Lowers a product with a constant matrix of 8-bit integers. Returns whether the product is one.
fn quantized_rows(l: &mut Lowering<'_>, node: &Node, parts: &Parts) -> Result<bool, LowerError> {
    let input = node.inputs[0];
    let Some(layer) = quantized::layer(l, input, parts) else {
        return Ok(false);
    };
    let form = flat(quantized::native(l, &layer, input));
    let shape = l.shape(parts.weights);
    let weights = match parts.axis {
        0 => layer.weights.to_vec(),
        _ => permute(layer.weights, shape, &[1, 0]),
    };
    let (units, depth) = (shape[parts.axis], shape[1 - parts.axis]);
    let weights = (vec![units, depth], order_columns(weights, units, form));
    let stored = quantized::store(l, node, (&layer, parts), form, weights)?;
    let operation = Operation::QuantizedFullyConnected {
        weights: stored.weights,
        bias: stored.bias,
        multiplier: stored.multiplier,
        finish: stored.finish,
    };
    l.make(node, operation, stored.inputs, Form::Plain);
    Ok(true)
}

/// Stores f32 weights, as f16 if requested.
fn store_weights(l: &mut Lowering<'_>, shape: Vec<usize>, weights: Vec<f32>) -> ConstantId {
    let data = match l.weights {
        Weights::Half => ConstantData::F16(weights.iter().map(|&w| f16::from_f32(w)).collect()),
        _ => ConstantData::F32(weights),
    };
    l.store(shape, data)
}

/// A constant as one row of bias, if all its rows are the same.
fn row_of(l: &Lowering<'_>, c: ValueId, rows: usize, columns: usize) -> Option<Vec<f32>> {
    let data = l.constant(c)?.as_f32()?;
    let shape = l.shape(c);
    let same_rows = rows == 1 || shape.len() < 2 || shape[0] == 1;
    match data.len() {
        1 => Some(vec![data[0]; columns]),
        n if n == columns && same_rows => Some(data.to_vec()),
        _ => None,
    }
}

fn gemm_at_run_time(l: &mut Lowering<'_>, node: &Node, gemm: &Gemm, c: Option<ValueId>) {
    let mut operands = Vec::with_capacity(2);
    for (value, transposed) in [
        (node.inputs[0], gemm.transpose_a),
        (node.inputs[1], gemm.transpose_b),
    ] {
        let plain = l.get(value, Form::Plain);
        let shape = l.shape(value);
        operands.push(match transposed {
            true => l.transpose(&node.name, plain, shape, &[1, 0]),
            false => plain,
        });
    }
    let shape = l.shape(node.outputs[0]).to_vec();
    let mut result = l.step(
        &node.name,
        Operation::MatMul,
        operands,
        shape.clone(),
        ElementType::F32,
    );
    if gemm.alpha != 1.0 {
        let alpha = Operand::Constant(l.store_f32(vec![1], vec![gemm.alpha]));
        let operation = joined(BinaryOperator::Mul);
        result = l.step(
            &node.name,
            operation,
            vec![result, alpha],
            shape,
            ElementType::F32,
        );
    }
    if let Some(c) = c {
        result = add_scaled(l, node, result, c, gemm.beta);
    }
    l.set(node.outputs[0], Form::Plain, result);
}

fn add_scaled(
    l: &mut Lowering<'_>,
    node: &Node,
    product: Operand,
    c: ValueId,
    beta: f32,
) -> Operand {
    let mut addend = l.get(c, Form::Plain);
    if beta != 1.0 {
        let factor = Operand::Constant(l.store_f32(vec![1], vec![beta]));
        let shape = match l.shape(c) {
            [] => vec![1],
            shape => shape.to_vec(),
        };
        let operation = joined(BinaryOperator::Mul);
        addend = l.step(
            &node.name,
            operation,
            vec![addend, factor],
            shape,
            ElementType::F32,
        );
    }
    let shape = l.shape(node.outputs[0]).to_vec();
    l.step(
        &node.name,
        joined(BinaryOperator::Add),
        vec![product, addend],
        shape,
        ElementType::F32,
    )
}

fn joined(operator: BinaryOperator) -> Operation {
    Operation::Binary {
        operator,
        activation: Activation::None,
    }
}

/// A two-dimensional value for a layer that accepts its columns in any order.
fn any_flat_form(l: &mut Lowering<'_>, value: ValueId) -> (Form, Operand) {
    let form = flat(l.native(value));
    (form, l.get(value, form))
}

/// The form in which a two-dimensional value is read.
fn flat(native: Form) -> Form {
    match native {
        flat @ Form::FlatNhwc { .. } => flat,
        _ => Form::Plain,
    }
}

/// Stores (M, K) weights with their columns in the order of `form`.
fn store_columns(l: &mut Lowering<'_>, weights: Vec<f32>, rows: usize, form: Form) -> ConstantId {
    let columns = weights.len() / rows.max(1);
    let weights = order_columns(weights, rows, form);
    store_weights(l, vec![rows, columns], weights)
}

fn order_columns<T: Copy>(weights: Vec<T>, rows: usize, form: Form) -> Vec<T> {
    match form {
        Form::FlatNhwc { channels, pixels } => {
            permute(&weights, &[rows, channels, pixels], &[0, 2, 1])
        }
        _ => weights,
    }
}

pub(super) fn mat_mul(l: &mut Lowering<'_>, node: &Node) -> Result<(), LowerError> {
    let (a, b) = (node.inputs[0], node.inputs[1]);
    let parts = Parts {
        weights: b,
        bias: None,
        axis: 1,
        factor: 1.0,
    };
    if l.shape(b).len() == 2 && quantized_rows(l, node, &parts)? {
        return Ok(());
    }
    let weights = match l.shape(b) {
        [_, _] => l.constant(b).and_then(|tensor| tensor.as_f32()),
        _ => None,
    };
    if let Some(weights) = weights {
        let (form, x) = any_flat_form(l, a);
        let weights = permute(weights, l.shape(b), &[1, 0]);
        let weights = store_columns(l, weights, l.shape(b)[1], form);
        let operation = Operation::FullyConnected {
            weights,
            bias: None,
            activation: Activation::None,
        };
        l.make(node, operation, vec![x], Form::Plain);
        return Ok(());
    }

    // A vector on the left becomes a row, a vector on the right a column. The axis that this adds
    // is removed again below.
    let mut operands = Vec::with_capacity(2);
    let mut shapes = Vec::with_capacity(2);
    for (value, is_left) in [(a, true), (b, false)] {
        let plain = l.get(value, Form::Plain);
        let matrix = match l.shape(value) {
            &[n] if is_left => vec![1, n],
            &[n] => vec![n, 1],
            shape => shape.to_vec(),
        };
        let ty = l.element_type_of(plain);
        operands.push(l.reshape(&node.name, plain, matrix.clone(), ty));
        shapes.push(matrix);
    }
    let output = l.shape(node.outputs[0]);
    let mut full = output.to_vec();
    let rows = shapes[0][shapes[0].len() - 2];
    let columns = shapes[1][shapes[1].len() - 1];
    let batch =
        output.len() - usize::from(l.shape(a).len() > 1) - usize::from(l.shape(b).len() > 1);
    full.truncate(batch);
    full.extend([rows, columns]);
    let product = l.step(
        &node.name,
        Operation::MatMul,
        operands,
        full,
        ElementType::F32,
    );
    let result = l.reshape(&node.name, product, output.to_vec(), ElementType::F32);
    l.set(node.outputs[0], Form::Plain, result);
    Ok(())
}

pub(super) fn batch_normalization(
    l: &mut Lowering<'_>,
    node: &Node,
    epsilon: f32,
) -> Result<(), LowerError> {
    let x = node.inputs[0];
    let affine = from_batch_normalization(
        l.parameter(node, node.inputs[1], "scale")?,
        l.parameter(node, node.inputs[2], "bias")?,
        l.parameter(node, node.inputs[3], "mean")?,
        l.parameter(node, node.inputs[4], "variance")?,
        epsilon,
    );
    let shape = l.shape(x);
    let channels = affine.scale.len();
    let (scale, shift) = affine.to_f32();
    let form = match shape.len() {
        4 => Form::Nhwc,
        _ => Form::Plain,
    };
    let operand = l.get(x, form);
    if shape.len() == 4 || shape.len() == 2 {
        let operation = Operation::Affine {
            scale: l.store_f32(vec![channels], scale),
            shift: l.store_f32(vec![channels], shift),
            activation: Activation::None,
        };
        l.make(node, operation, vec![operand], form);
        return Ok(());
    }
    let mut along = vec![1; shape.len()];
    if let Some(axis) = along.get_mut(1) {
        *axis = channels;
    }
    let scale = Operand::Constant(l.store_f32(along.clone(), scale));
    let shift = Operand::Constant(l.store_f32(along, shift));
    let scaled = l.step(
        &node.name,
        joined(BinaryOperator::Mul),
        vec![operand, scale],
        shape.to_vec(),
        ElementType::F32,
    );
    l.make(
        node,
        joined(BinaryOperator::Add),
        vec![scaled, shift],
        Form::Plain,
    );
    Ok(())
}
