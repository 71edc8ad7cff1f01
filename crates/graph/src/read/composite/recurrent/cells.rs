//! One step of a recurrent layer. The equations are those of onnx/docs/Operators.md.

use super::{Direction, Layer, State, part, product};
use crate::read::composite::{Composer, Source};
use crate::read::operators::Site;
use crate::{Op, OpError};

type Composed = Result<Source, OpError>;

/// A recurrent operator, with the attributes that only it has.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Lstm {
        /// Whether the forget gate is 1 minus the input gate.
        input_forget: bool,
    },
    Gru {
        /// Whether the reset gate is applied after the product instead of before it.
        linear_before_reset: bool,
    },
    Rnn,
}

/// Takes the attributes of the operator.
pub(super) fn kind(operator: &str, site: &mut Site<'_>) -> Result<Kind, OpError> {
    Ok(match operator {
        "LSTM" => Kind::Lstm {
            input_forget: site.attributes.flag("input_forget", false)?,
        },
        "GRU" => Kind::Gru {
            linear_before_reset: site.attributes.flag("linear_before_reset", false)?,
        },
        _ => Kind::Rnn,
    })
}

impl Kind {
    pub(super) fn gates(self) -> usize {
        match self {
            Self::Lstm { .. } => 4,
            Self::Gru { .. } => 3,
            Self::Rnn => 1,
        }
    }

    /// The activations of one direction, where the file names none.
    pub(super) fn activations(self) -> &'static [&'static str] {
        match self {
            Self::Lstm { .. } => &["Sigmoid", "Tanh", "Tanh"],
            Self::Gru { .. } => &["Sigmoid", "Tanh"],
            Self::Rnn => &["Tanh"],
        }
    }

    pub(super) fn most_inputs(self) -> usize {
        match self {
            Self::Lstm { .. } => 8,
            Self::Gru { .. } | Self::Rnn => 6,
        }
    }

    /// Whether Rb is added to the product of the state, before the reset gate is applied.
    pub(super) fn keeps_recurrent_bias(self) -> bool {
        matches!(
            self,
            Self::Gru {
                linear_before_reset: true
            }
        )
    }

    /// Whether the reset gate is applied to the state before the state is multiplied.
    pub(super) fn resets_first(self) -> bool {
        matches!(
            self,
            Self::Gru {
                linear_before_reset: false
            }
        )
    }

    /// The next hidden state, and the next cell state of LSTM. `input` is the step's row of
    /// [`Direction::inputs`].
    pub(super) fn step(
        self,
        c: &mut Composer<'_>,
        layer: &Layer,
        direction: &Direction,
        input: Source,
        state: State,
    ) -> Result<(Source, Option<Source>), OpError> {
        match self {
            Self::Lstm { input_forget } => {
                let (hidden, cell) = lstm(c, layer, direction, input, state, input_forget)?;
                Ok((hidden, Some(cell)))
            }
            Self::Gru {
                linear_before_reset,
            } => {
                let step = match linear_before_reset {
                    true => gru_after(c, layer, direction, input, state.hidden)?,
                    false => gru_before(c, layer, direction, input, state.hidden)?,
                };
                Ok((step, None))
            }
            Self::Rnn => {
                let sum = with_state(c, direction, input, state.hidden)?;
                let sum = layer.clipped(c, sum)?;
                Ok((direction.activations.apply(c, 0, sum)?, None))
            }
        }
    }
}

/// The input's product plus that of the hidden state.
fn with_state(
    c: &mut Composer<'_>,
    direction: &Direction,
    input: Source,
    hidden: Option<Source>,
) -> Composed {
    let Some(hidden) = hidden else {
        return Ok(input);
    };
    let state = product(c, hidden, direction.recurrent, None)?;
    c.node(Op::Add, &[input, state])
}

/// The gates in ONNX's order: input, output, forget, cell.
fn lstm(
    c: &mut Composer<'_>,
    layer: &Layer,
    direction: &Direction,
    input: Source,
    state: State,
    input_forget: bool,
) -> Result<(Source, Source), OpError> {
    let sum = with_state(c, direction, input, state.hidden)?;
    let activations = &direction.activations;
    let gate = |c: &mut Composer<'_>, gate: usize, cell: Option<Source>| {
        let mut sum = layer.gates(c, sum, gate, 1)?;
        if let (Some(peepholes), Some(cell)) = (direction.peepholes, cell) {
            let seen = c.node(Op::Mul, &[peepholes[gate], cell])?;
            sum = c.node(Op::Add, &[sum, seen])?;
        }
        let sum = layer.clipped(c, sum)?;
        activations.apply(c, 0, sum)
    };
    // Without peepholes, one node computes all three gates.
    let all = match direction.peepholes {
        None => {
            let sum = layer.gates(c, sum, 0, 3)?;
            let sum = layer.clipped(c, sum)?;
            Some(activations.apply(c, 0, sum)?)
        }
        Some(_) => None,
    };
    let one = |c: &mut Composer<'_>, i: usize, cell: Option<Source>| match all {
        Some(all) => part(c, all, 1, i * layer.hidden, layer.hidden),
        None => gate(c, i, cell),
    };
    let opened = one(c, 0, state.cell)?;
    let proposed = layer.gates(c, sum, 3, 1)?;
    let proposed = layer.clipped(c, proposed)?;
    let proposed = activations.apply(c, 1, proposed)?;
    let mut cell = c.node(Op::Mul, &[opened, proposed])?;
    if let Some(before) = state.cell {
        let kept = match input_forget {
            true => {
                let one = c.number(opened, 1.0)?;
                c.node(Op::Sub, &[one, opened])?
            }
            false => one(c, 2, state.cell)?,
        };
        let kept = c.node(Op::Mul, &[kept, before])?;
        cell = c.node(Op::Add, &[kept, cell])?;
    }
    let shown = one(c, 1, Some(cell))?;
    // Like ONNX Runtime, which clips the inputs of the gates, but not the cell.
    let squashed = activations.apply(c, 2, cell)?;
    let hidden = c.node(Op::Mul, &[shown, squashed])?;
    Ok((hidden, cell))
}

/// The gates in ONNX's order: update, reset, hidden. The reset gate is applied to the state, and
/// then multiplied with the weights.
fn gru_before(
    c: &mut Composer<'_>,
    layer: &Layer,
    direction: &Direction,
    input: Source,
    hidden: Option<Source>,
) -> Composed {
    let mut gates = layer.gates(c, input, 0, 2)?;
    let mut proposed = layer.gates(c, input, 2, 1)?;
    if let Some(hidden) = hidden {
        let state = product(c, hidden, direction.recurrent, None)?;
        gates = c.node(Op::Add, &[gates, state])?;
    }
    let gates = layer.clipped(c, gates)?;
    let gates = direction.activations.apply(c, 0, gates)?;
    let update = layer.gates(c, gates, 0, 1)?;
    if let (Some(hidden), Some(weights)) = (hidden, direction.after_reset) {
        let reset = layer.gates(c, gates, 1, 1)?;
        let reset = c.node(Op::Mul, &[reset, hidden])?;
        let state = product(c, reset, weights, None)?;
        proposed = c.node(Op::Add, &[proposed, state])?;
    }
    updated(c, layer, direction, [update, proposed], hidden)
}

/// Like [`gru_before`], but the state is multiplied with the weights, and then the reset gate is
/// applied.
fn gru_after(
    c: &mut Composer<'_>,
    layer: &Layer,
    direction: &Direction,
    input: Source,
    hidden: Option<Source>,
) -> Composed {
    let bias = direction.biases.map(|[_, recurrent]| recurrent);
    // A state of 0 leaves the bias.
    let state = match (hidden, bias) {
        (Some(hidden), bias) => Some(product(c, hidden, direction.recurrent, bias)?),
        (None, Some(bias)) => Some(c.reshape(bias, &[1, 3 * layer.hidden])?),
        (None, None) => None,
    };
    let mut gates = layer.gates(c, input, 0, 2)?;
    if let Some(state) = state {
        let state = layer.gates(c, state, 0, 2)?;
        gates = c.node(Op::Add, &[gates, state])?;
    }
    let gates = layer.clipped(c, gates)?;
    let gates = direction.activations.apply(c, 0, gates)?;
    let update = layer.gates(c, gates, 0, 1)?;
    let mut proposed = layer.gates(c, input, 2, 1)?;
    if let Some(state) = state {
        let reset = layer.gates(c, gates, 1, 1)?;
        let state = layer.gates(c, state, 2, 1)?;
        let state = c.node(Op::Mul, &[reset, state])?;
        proposed = c.node(Op::Add, &[proposed, state])?;
    }
    updated(c, layer, direction, [update, proposed], hidden)
}

/// (1 - update) * g(proposed) + update * hidden
fn updated(
    c: &mut Composer<'_>,
    layer: &Layer,
    direction: &Direction,
    [update, proposed]: [Source; 2],
    hidden: Option<Source>,
) -> Composed {
    let proposed = layer.clipped(c, proposed)?;
    let proposed = direction.activations.apply(c, 1, proposed)?;
    match hidden {
        Some(hidden) => {
            let difference = c.node(Op::Sub, &[hidden, proposed])?;
            let moved = c.node(Op::Mul, &[update, difference])?;
            c.node(Op::Add, &[proposed, moved])
        }
        None => {
            let moved = c.node(Op::Mul, &[update, proposed])?;
            c.node(Op::Sub, &[proposed, moved])
        }
    }
}
