//! Attention (opset 23 and later).

use half::f16;

use super::reductions::reduced;
use super::{Composer, Source};
use crate::read::operators::Site;
use crate::{Comparison, ElementType, Op, OpError, PadMode, Reduction, Tensor};

type Composed = Result<Source, OpError>;

/// The attributes of Attention.
struct Attributes {
    causal: bool,
    scale: Option<f32>,
    softcap: f32,
    /// How many keys before and after its own a query sees.
    window: [Option<usize>; 2],
    /// Which of the intermediate results is the fourth output.
    shown: i64,
    /// The heads of the queries, and of the keys and values.
    heads: [Option<usize>; 2],
}

fn attributes(site: &mut Site<'_>) -> Result<Attributes, OpError> {
    let precision = site.attributes.int("softmax_precision")?;
    if !matches!(precision, None | Some(1)) {
        return Err(OpError::Unsupported {
            feature: "a softmax of another precision than float32 (softmax_precision)",
        });
    }
    let mut size = |attribute, least: i64| match site.attributes.int(attribute)? {
        None | Some(-1) => Ok(None),
        Some(given) => (usize::try_from(given).ok())
            .filter(|_| given >= least)
            .map(Some)
            .ok_or_else(|| OpError::Attribute {
                attribute,
                found: given.to_string(),
                expected: "a size, not negative",
            }),
    };
    let heads = [size("q_num_heads", 1)?, size("kv_num_heads", 1)?];
    let window = [size("left_window_size", 0)?, size("right_window_size", 0)?];
    let attributes = Attributes {
        causal: site.attributes.flag("is_causal", false)?,
        scale: site.attributes.optional_float("scale")?,
        softcap: site.attributes.float("softcap", 0.0)?,
        window,
        shown: site.attributes.int("qk_matmul_output_mode")?.unwrap_or(0),
        heads,
    };
    let scale = attributes.scale.unwrap_or(1.0);
    match scale.is_finite() && scale >= 0.0 && attributes.softcap.is_finite() {
        true => Ok(attributes),
        false => Err(OpError::Attribute {
            attribute: "scale or softcap",
            found: format!("{scale}, {}", attributes.softcap),
            expected: "a finite number, not negative",
        }),
    }
}

/// (batch, heads, sequence, size) of an input of three or four axes.
pub(super) fn split_heads(
    c: &mut Composer<'_>,
    x: Source,
    heads: Option<usize>,
    input: &'static str,
) -> Composed {
    let shape = c.shape(x);
    match (&shape[..], heads) {
        (&[_, _, _, _], _) => Ok(x),
        (&[batch, length, all], Some(heads)) if all % heads == 0 => {
            let split = c.reshape(x, &[batch, length, heads, all / heads])?;
            let perm = vec![0, 2, 1, 3];
            c.then(Op::Transpose { perm }, split)
        }
        _ => Err(OpError::Shape {
            input,
            found: shape,
            expected: "four axes, or three with q_num_heads and kv_num_heads".into(),
        }),
    }
}

/// The outputs are Y, the present keys and values, and an intermediate result.
pub(super) fn attention(c: &mut Composer<'_>, site: &mut Site<'_>) -> Result<Vec<Source>, OpError> {
    site.at_most(7, "3 to 7")?;
    let given = attributes(site)?;
    if site.optional(6).is_some() {
        return Err(OpError::Unsupported {
            feature: "the input nonpad_kv_seqlen",
        });
    }
    let q = site.source(0, "Q")?;
    let flat = c.shape(q).len() == 3;
    let q = split_heads(c, q, given.heads[0], "Q")?;
    let k = site.source(1, "K")?;
    let k = split_heads(c, k, given.heads[1], "K")?;
    let v = site.source(2, "V")?;
    let v = split_heads(c, v, given.heads[1], "V")?;
    let (k, past) = with_past(c, k, site.optional(4))?;
    let (v, _) = with_past(c, v, site.optional(5))?;

    let [batch, heads, queries, size] = four(c, q, "Q")?;
    let [_, groups, keys, _] = four(c, k, "K")?;
    let [_, _, _, out] = four(c, v, "V")?;
    if groups == 0 || heads % groups != 0 || size == 0 {
        return Err(OpError::Incompatible {
            first: c.shape(q),
            second: c.shape(k),
        });
    }
    // Several heads of queries share one head of keys and values.
    let shared = heads / groups * queries;
    let scale = given.scale.unwrap_or(1.0 / (size as f32).sqrt()).sqrt();
    let q = c.with(Op::Mul, q, scale)?;
    let q = c.reshape(q, &[batch, groups, shared, size])?;
    let perm = vec![0, 1, 3, 2];
    let transposed = c.then(Op::Transpose { perm }, k)?;
    let transposed = c.with(Op::Mul, transposed, scale)?;
    let raw = c.node(Op::MatMul, &[q, transposed])?;
    let raw = c.reshape(raw, &[batch, heads, queries, keys])?;
    let capped = softcap(c, raw, given.softcap)?;
    let biased = masked(c, site, &given, capped, past)?;
    let weights = softmax(c, biased, site.optional(3).is_some())?;
    let shared_weights = c.reshape(weights, &[batch, groups, shared, keys])?;
    let y = c.node(Op::MatMul, &[shared_weights, v])?;
    let mut y = c.reshape(y, &[batch, heads, queries, out])?;
    if flat {
        let perm = vec![0, 2, 1, 3];
        y = c.then(Op::Transpose { perm }, y)?;
        y = c.reshape(y, &[batch, queries, heads * out])?;
    }
    let shown = match given.shown {
        0 => raw,
        1 => capped,
        2 => biased,
        3 => weights,
        other => {
            return Err(OpError::Attribute {
                attribute: "qk_matmul_output_mode",
                found: other.to_string(),
                expected: "0 to 3",
            });
        }
    };
    Ok(vec![y, k, v, shown])
}

pub(super) fn four(
    c: &Composer<'_>,
    x: Source,
    input: &'static str,
) -> Result<[usize; 4], OpError> {
    <[usize; 4]>::try_from(c.shape(x)).map_err(|found| OpError::Shape {
        input,
        found,
        expected: "(batch, heads, sequence, size)".into(),
    })
}

/// Keys or values after those of earlier calls, and the number of the earlier ones.
fn with_past(
    c: &mut Composer<'_>,
    now: Source,
    past: Option<Source>,
) -> Result<(Source, usize), OpError> {
    match past {
        None => Ok((now, 0)),
        Some(past) => {
            let [_, _, count, _] = four(c, past, "past_key")?;
            Ok((c.node(Op::Concat { axis: 2 }, &[past, now])?, count))
        }
    }
}

/// limit * tanh(x / limit)
fn softcap(c: &mut Composer<'_>, x: Source, limit: f32) -> Composed {
    if limit <= 0.0 {
        return Ok(x);
    }
    let scaled = c.with(Op::Div, x, limit)?;
    let tanh = c.then(Op::Tanh, scaled)?;
    c.with(Op::Mul, tanh, limit)
}

/// The scores, which are the lowest number where a query does not see a key.
fn masked(
    c: &mut Composer<'_>,
    site: &Site<'_>,
    given: &Attributes,
    mut scores: Source,
    past: usize,
) -> Composed {
    let [_, _, queries, keys] = four(c, scores, "Q")?;
    if let Some(mask) = site.optional(3) {
        let mask = full_mask(c, mask, keys)?;
        scores = match c.of(mask).element_type {
            ElementType::Bool => only(c, mask, scores)?,
            _ => c.node(Op::Add, &[scores, mask])?,
        };
    }
    let [left, right] = given.window;
    if given.causal || left.is_some() || right.is_some() {
        let sees = |query: usize, key: usize| {
            let at = past + query;
            !(given.causal && key > at)
                && left.is_none_or(|left| key.saturating_add(left) >= at)
                && right.is_none_or(|right| key <= at.saturating_add(right))
        };
        site.fits(&[queries, keys])?;
        let pairs = (0..queries).flat_map(|query| (0..keys).map(move |key| (query, key)));
        let mask: Vec<bool> = pairs.map(|(query, key)| sees(query, key)).collect();
        let mask = Tensor::new([queries, keys], mask);
        let mask = mask.map_err(|e| OpError::TooLarge { shape: e.shape })?;
        let mask = c.constant(mask);
        scores = only(c, mask, scores)?;
    }
    Ok(scores)
}

/// A mask for all keys: those that it does not cover are not seen.
fn full_mask(c: &mut Composer<'_>, mask: Source, keys: usize) -> Composed {
    let mut shape = c.shape(mask);
    let covered = shape.last().copied().unwrap_or(1);
    if covered == keys || covered == 1 {
        return Ok(mask);
    }
    if covered > keys {
        return Err(OpError::Shape {
            input: "attn_mask",
            found: shape,
            expected: format!("at most {keys} keys"),
        });
    }
    if c.of(mask).element_type == ElementType::Bool {
        return Err(OpError::Unsupported {
            feature: "a mask of bools that is shorter than the keys",
        });
    }
    let mut pad = crate::Pad {
        before: vec![0; shape.len()],
        after: vec![0; shape.len()],
        mode: PadMode::Constant(match c.of(mask).element_type {
            ElementType::F16 => f16::MIN.to_f32(),
            _ => f32::MIN,
        }),
    };
    if let (Some(last), Some(size)) = (pad.after.last_mut(), shape.last_mut()) {
        *last = (keys - *size).cast_signed();
    }
    c.then(Op::Pad(pad), mask)
}

/// The lowest finite number: the score of what a query does not see. An engine's constants are finite.
fn lowest(c: &mut Composer<'_>, scores: Source) -> Composed {
    let lowest = match c.of(scores).element_type {
        ElementType::F16 => f16::MIN.to_f32(),
        _ => f32::MIN,
    };
    c.number(scores, lowest)
}

fn only(c: &mut Composer<'_>, mask: Source, scores: Source) -> Composed {
    let hidden = lowest(c, scores)?;
    c.node(Op::Where, &[mask, scores, hidden])
}

/// Softmax over the keys. With `guarded`, the weights are 0 where a query sees no key.
fn softmax(c: &mut Composer<'_>, scores: Source, guarded: bool) -> Composed {
    let (axis, end_axis) = (3, 4);
    if !guarded {
        return c.then(Op::Softmax { axis, end_axis }, scores);
    }
    let largest = reduced(c, Reduction::Max, scores, &[3], true)?;
    let lowest = lowest(c, scores)?;
    let sees = c.node(Op::Compare(Comparison::Greater), &[largest, lowest])?;
    let zero = c.number(scores, 0.0)?;
    let safe = c.node(Op::Where, &[sees, scores, zero])?;
    let weights = c.then(Op::Softmax { axis, end_axis }, safe)?;
    c.node(Op::Where, &[sees, weights, zero])
}
