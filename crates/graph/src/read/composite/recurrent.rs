//! The recurrent layers LSTM, GRU and RNN, unrolled over their fixed sequence length.
//!
//! The product of the inputs with the weights is one node for all steps. Each step adds the
//! product of the state with the recurrent weights.

mod activations;
mod cells;

use super::reductions::full_slice;
use super::{Composer, Source};
use crate::read::operators::Site;
use crate::{Gemm, Op, OpError};
use activations::Activations;
use cells::Kind;

type Composed = Result<Source, OpError>;

/// The operators that this module reads.
pub(super) const OPERATORS: [&str; 3] = ["GRU", "LSTM", "RNN"];

/// The sizes and inputs that all steps share.
struct Layer {
    kind: Kind,
    length: usize,
    batch: usize,
    hidden: usize,
    /// Whether the first axis of inputs and outputs is the batch instead of the sequence.
    batch_first: bool,
    /// The inputs of all steps: (length * batch, input size).
    rows: Source,
    clip: Option<f32>,
}

/// What one direction computes with.
struct Direction {
    /// The recurrent weights that the state is multiplied with: (gates * hidden, hidden).
    recurrent: Source,
    /// Those that GRU multiplies with the state after the reset gate: (hidden, hidden).
    after_reset: Option<Source>,
    /// Wb and Rb, each (gates * hidden).
    biases: Option<[Source; 2]>,
    /// Of the input gate, the output gate and the forget gate.
    peepholes: Option<[Source; 3]>,
    activations: Activations,
    /// The product of the inputs of all steps with the weights, and the biases that do not depend
    /// on the state: (length * batch, gates * hidden).
    inputs: Source,
}

/// The state between two steps, each (batch, hidden). What is absent is 0.
#[derive(Clone, Copy)]
struct State {
    hidden: Option<Source>,
    cell: Option<Source>,
}

/// The hidden state after each step of one direction, in the order of the inputs, and the last
/// state.
struct Unrolled {
    steps: Vec<Source>,
    last: State,
}

/// Reads a layer. The outputs are Y, Y_h and, for LSTM, Y_c.
pub(super) fn layer(
    c: &mut Composer<'_>,
    site: &mut Site<'_>,
    operator: &str,
) -> Result<Vec<Source>, OpError> {
    let kind = cells::kind(operator, site)?;
    site.at_most(kind.most_inputs(), "at most 8 (LSTM) or 6 (GRU, RNN)")?;
    let reversed = directions(site)?;
    let count = reversed.len();
    let layer = read_layer(c, site, kind, count)?;
    let mut all = activations::read(site, kind.activations(), count)?;
    let mut unrolled = Vec::with_capacity(count);
    for (i, &backwards) in reversed.iter().enumerate() {
        let activations = all.remove(0);
        let direction = layer.direction(c, site, i, activations)?;
        let start = State {
            hidden: layer.initial(c, site, 5, "initial_h", [i, count])?,
            cell: match kind {
                Kind::Lstm { .. } => layer.initial(c, site, 6, "initial_c", [i, count])?,
                _ => None,
            },
        };
        unrolled.push(layer.unroll(c, site, &direction, start, backwards)?);
    }
    layer.outputs(c, site, &unrolled)
}

/// Whether each direction runs backwards.
fn directions(site: &mut Site<'_>) -> Result<Vec<bool>, OpError> {
    match site.attributes.string("direction")?.as_deref() {
        None | Some("forward") => Ok(vec![false]),
        Some("reverse") => Ok(vec![true]),
        Some("bidirectional") => Ok(vec![false, true]),
        Some(other) => Err(OpError::Attribute {
            attribute: "direction",
            found: other.to_owned(),
            expected: "forward, reverse or bidirectional",
        }),
    }
}

fn require(site: &Site<'_>, i: usize, input: &'static str, shape: &[usize]) -> Result<(), OpError> {
    let found = site.shape(i, input)?;
    match found == shape {
        true => Ok(()),
        false => Err(OpError::Shape {
            input,
            found: found.to_vec(),
            expected: format!("{shape:?}"),
        }),
    }
}

/// Checks the shapes of X, W, R, B and sequence_lens.
fn read_layer(
    c: &mut Composer<'_>,
    site: &mut Site<'_>,
    kind: Kind,
    directions: usize,
) -> Result<Layer, OpError> {
    let batch_first = site.opset >= 14 && site.attributes.flag("layout", false)?;
    let clip = site.attributes.optional_float("clip")?;
    if let Some(clip) = clip.filter(|clip| !(clip.is_finite() && *clip >= 0.0)) {
        return Err(OpError::Attribute {
            attribute: "clip",
            found: clip.to_string(),
            expected: "a number of 0 or more",
        });
    }
    let wrong = |input, found: &[usize], expected: &str| OpError::Shape {
        input,
        found: found.to_vec(),
        expected: expected.to_owned(),
    };
    let shape = site.shape(0, "X")?;
    let &[first, second, size] = shape else {
        return Err(wrong("X", shape, "(sequence, batch, input size)"));
    };
    let [length, batch] = match batch_first {
        true => [second, first],
        false => [first, second],
    };
    let recurrent = site.shape(2, "R")?;
    let &[_, _, hidden] = recurrent else {
        return Err(wrong(
            "R",
            recurrent,
            "(directions, gates * hidden, hidden)",
        ));
    };
    if length == 0 || batch == 0 || size == 0 || hidden == 0 {
        return Err(wrong("X or R", shape, "no axis of size 0"));
    }
    let given = site.attributes.int("hidden_size")?;
    if given.is_some_and(|given| usize::try_from(given) != Ok(hidden)) {
        return Err(OpError::Attribute {
            attribute: "hidden_size",
            found: given.unwrap_or_default().to_string(),
            expected: "the last size of R",
        });
    }
    let gates = kind.gates().saturating_mul(hidden);
    require(site, 1, "W", &[directions, gates, size])?;
    require(site, 2, "R", &[directions, gates, hidden])?;
    if site.optional(3).is_some() {
        require(site, 3, "B", &[directions, gates.saturating_mul(2)])?;
    }
    check_lengths(site, length)?;
    let x = site.source(0, "X")?;
    let x = match batch_first {
        true => swapped(c, x)?,
        false => x,
    };
    let rows = c.reshape(x, &[length * batch, size])?;
    Ok(Layer {
        kind,
        length,
        batch,
        hidden,
        batch_first,
        rows,
        clip,
    })
}

/// Only sequences of full length are supported.
fn check_lengths(site: &Site<'_>, length: usize) -> Result<(), OpError> {
    let full = |&given: &i64| usize::try_from(given) == Ok(length);
    match site.integers(4, "sequence_lens")? {
        Some(lengths) if !lengths.iter().all(full) => Err(OpError::Unsupported {
            feature: "a sequence that is shorter than its input (sequence_lens)",
        }),
        _ => Ok(()),
    }
}

/// Swaps the first two axes.
fn swapped(c: &mut Composer<'_>, x: Source) -> Composed {
    let mut shape = c.shape(x);
    let moves = shape[0] > 1 && shape[1] > 1;
    shape.swap(0, 1);
    if !moves {
        return c.reshape(x, &shape);
    }
    let mut perm: Vec<usize> = (0..shape.len()).collect();
    perm.swap(0, 1);
    c.then(Op::Transpose { perm }, x)
}

/// `length` elements of an axis from `start` on.
fn part(c: &mut Composer<'_>, x: Source, axis: usize, start: usize, length: usize) -> Composed {
    let shape = c.shape(x);
    if shape[axis] == length {
        return Ok(x);
    }
    let mut axes = full_slice(&shape);
    axes[axis].start = start;
    axes[axis].length = length;
    c.then(Op::Slice { axes }, x)
}

/// What direction `i` has of a value whose first axis are the directions.
fn of_direction(c: &mut Composer<'_>, all: Source, i: usize, shape: &[usize]) -> Composed {
    let one = part(c, all, 0, i, 1)?;
    c.reshape(one, shape)
}

/// x * weights' + bias
fn product(c: &mut Composer<'_>, x: Source, weights: Source, bias: Option<Source>) -> Composed {
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    let mut inputs = vec![x, weights];
    inputs.extend(bias);
    c.node(Op::Gemm(gemm), &inputs)
}

impl Layer {
    fn direction(
        &self,
        c: &mut Composer<'_>,
        site: &Site<'_>,
        i: usize,
        activations: Activations,
    ) -> Result<Direction, OpError> {
        let gates = self.kind.gates() * self.hidden;
        let size = site.shape(1, "W")?[2];
        let weights = of_direction(c, site.source(1, "W")?, i, &[gates, size])?;
        let recurrent = of_direction(c, site.source(2, "R")?, i, &[gates, self.hidden])?;
        let biases = match site.optional(3) {
            Some(all) => {
                let both = of_direction(c, all, i, &[2 * gates])?;
                Some([part(c, both, 0, 0, gates)?, part(c, both, 0, gates, gates)?])
            }
            None => None,
        };
        let bias = match biases {
            Some([inputs, _]) if self.kind.keeps_recurrent_bias() => Some(inputs),
            Some([inputs, recurrent]) => Some(c.node(Op::Add, &[inputs, recurrent])?),
            None => None,
        };
        let inputs = product(c, self.rows, weights, bias)?;
        let (recurrent, after_reset) = match self.kind.resets_first() {
            true => {
                let before = part(c, recurrent, 0, 0, 2 * self.hidden)?;
                let after = part(c, recurrent, 0, 2 * self.hidden, self.hidden)?;
                (before, Some(after))
            }
            false => (recurrent, None),
        };
        Ok(Direction {
            recurrent,
            after_reset,
            biases,
            peepholes: self.peepholes(c, site, i)?,
            activations,
            inputs,
        })
    }

    fn peepholes(
        &self,
        c: &mut Composer<'_>,
        site: &Site<'_>,
        i: usize,
    ) -> Result<Option<[Source; 3]>, OpError> {
        let Some(all) = site.optional(7) else {
            return Ok(None);
        };
        let width = 3 * self.hidden;
        require(site, 7, "P", &[site.shape(1, "W")?[0], width])?;
        let one = of_direction(c, all, i, &[1, width])?;
        let mut gate = |i| part(c, one, 1, i * self.hidden, self.hidden);
        Ok(Some([gate(0)?, gate(1)?, gate(2)?]))
    }

    /// The initial state of direction `i` of `count`. `None` if it is absent or a constant of zeros.
    fn initial(
        &self,
        c: &mut Composer<'_>,
        site: &Site<'_>,
        at: usize,
        input: &'static str,
        [i, count]: [usize; 2],
    ) -> Result<Option<Source>, OpError> {
        let Some(given) = site.optional(at) else {
            return Ok(None);
        };
        let axis = usize::from(self.batch_first);
        match self.batch_first {
            true => require(site, at, input, &[self.batch, count, self.hidden])?,
            false => require(site, at, input, &[count, self.batch, self.hidden])?,
        }
        if site.is_zero(at) {
            return Ok(None);
        }
        let one = part(c, given, axis, i, 1)?;
        c.reshape(one, &[self.batch, self.hidden]).map(Some)
    }

    fn unroll(
        &self,
        c: &mut Composer<'_>,
        site: &Site<'_>,
        direction: &Direction,
        start: State,
        backwards: bool,
    ) -> Result<Unrolled, OpError> {
        let mut last = start;
        let mut steps = Vec::new();
        for step in 0..self.length {
            let at = match backwards {
                true => self.length - 1 - step,
                false => step,
            };
            let input = part(c, direction.inputs, 0, at * self.batch, self.batch)?;
            let (hidden, cell) = self.kind.step(c, self, direction, input, last)?;
            last = State {
                hidden: Some(hidden),
                cell,
            };
            steps.push(hidden);
            if c.parts.len() > site.max_unrolled {
                return Err(OpError::UnrolledTooLarge);
            }
        }
        if backwards {
            steps.reverse();
        }
        Ok(Unrolled { steps, last })
    }

    /// The activation's input, within the limits of `clip`.
    fn clipped(&self, c: &mut Composer<'_>, x: Source) -> Composed {
        match self.clip {
            Some(limit) => c.then(
                Op::Clip {
                    min: -limit,
                    max: limit,
                },
                x,
            ),
            None => Ok(x),
        }
    }

    /// The columns of the gates from `first` on, of (rows, gates * hidden).
    fn gates(&self, c: &mut Composer<'_>, x: Source, first: usize, count: usize) -> Composed {
        part(c, x, 1, first * self.hidden, count * self.hidden)
    }

    fn outputs(
        &self,
        c: &mut Composer<'_>,
        site: &Site<'_>,
        directions: &[Unrolled],
    ) -> Result<Vec<Source>, OpError> {
        let last_hidden = self.states(c, directions, |state| state.hidden)?;
        // Y is as long as the sequence; nothing is added for it if it is not read.
        let wanted = site.outputs.first().is_some_and(|name| !name.is_empty());
        let mut outputs = vec![match wanted {
            true => self.sequence(c, directions)?,
            false => last_hidden,
        }];
        outputs.push(last_hidden);
        if matches!(self.kind, Kind::Lstm { .. }) {
            outputs.push(self.states(c, directions, |state| state.cell)?);
        }
        Ok(outputs)
    }

    /// (sequence, directions, batch, hidden), or (batch, sequence, directions, hidden).
    fn sequence(&self, c: &mut Composer<'_>, directions: &[Unrolled]) -> Composed {
        let mut all = Vec::with_capacity(directions.len());
        for direction in directions {
            let rows = joined(c, &direction.steps, 0)?;
            all.push(c.reshape(rows, &[self.length, 1, self.batch, self.hidden])?);
        }
        let y = joined(c, &all, 1)?;
        if !self.batch_first {
            return Ok(y);
        }
        let perm = vec![2, 0, 1, 3];
        c.then(Op::Transpose { perm }, y)
    }

    /// The last state of all directions: (directions, batch, hidden), or (batch, directions,
    /// hidden).
    fn states(
        &self,
        c: &mut Composer<'_>,
        directions: &[Unrolled],
        of: impl Fn(&State) -> Option<Source>,
    ) -> Composed {
        let mut all = Vec::with_capacity(directions.len());
        for state in directions
            .iter()
            .filter_map(|direction| of(&direction.last))
        {
            all.push(c.reshape(state, &[1, self.batch, self.hidden])?);
        }
        let states = joined(c, &all, 0)?;
        match self.batch_first {
            true => swapped(c, states),
            false => Ok(states),
        }
    }
}

fn joined(c: &mut Composer<'_>, parts: &[Source], axis: usize) -> Composed {
    match parts {
        &[only] => Ok(only),
        parts => c.node(Op::Concat { axis }, parts),
    }
}
