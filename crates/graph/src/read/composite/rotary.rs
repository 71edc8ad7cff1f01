//! RotaryEmbedding (opset 23 and later).

use super::attention::{four, split_heads};
use super::reductions::full_slice;
use super::{Composer, Source};
use crate::read::operators::Site;
use crate::{Op, OpError};

type Composed = Result<Source, OpError>;

/// Rotates pairs of elements of each head by the angles of its position.
pub(super) fn rotary_embedding(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(4, "3 or 4")?;
    let interleaved = site.attributes.flag("interleaved", false)?;
    let heads = site.attributes.int("num_heads")?.unwrap_or(0);
    let rotated = site.attributes.int("rotary_embedding_dim")?.unwrap_or(0);
    let x = site.source(0, "X")?;
    let shape = c.shape(x);
    let heads = usize::try_from(heads).ok().filter(|&heads| heads > 0);
    let x = split_heads(c, x, heads, "X")?;
    let [batch, heads, length, size] = four(c, x, "X")?;
    let rotated = match usize::try_from(rotated) {
        Ok(0) => size,
        Ok(rotated) if rotated <= size => rotated,
        _ => usize::MAX,
    };
    if rotated % 2 != 0 {
        return Err(OpError::Attribute {
            attribute: "rotary_embedding_dim",
            found: rotated.to_string(),
            expected: "an even number, at most the size of a head",
        });
    }
    let half = rotated / 2;
    let mut angles = |i: usize, input| {
        let cache = site.source(i, input)?;
        let cache = match site.optional(3) {
            Some(_) => super::movement::rows(c, site, i, 3)?,
            None => cache,
        };
        match c.shape(cache)[..] {
            [n, of, pairs] if [of, pairs] == [length, half] && (n == 1 || n == batch) => {
                c.reshape(cache, &[n, 1, length, half])
            }
            _ => Err(OpError::Shape {
                input,
                found: c.shape(cache),
                expected: format!("[{batch}, {length}, {half}] at the positions"),
            }),
        }
    };
    let (cos, sin) = (angles(1, "cos_cache")?, angles(2, "sin_cache")?);
    let part = |c: &mut Composer<'_>, start: usize, step: isize, count: usize| {
        let mut axes = full_slice(&[batch, heads, length, size]);
        axes[3].start = start;
        axes[3].step = step;
        axes[3].length = count;
        c.then(Op::Slice { axes }, x)
    };
    let (a, b) = match interleaved {
        true => (part(c, 0, 2, half)?, part(c, 1, 2, half)?),
        false => (part(c, 0, 1, half)?, part(c, half, 1, half)?),
    };
    let rest = match rotated == size {
        true => None,
        false => Some(part(c, rotated, 1, size - rotated)?),
    };
    let [a_cos, b_sin] = [c.node(Op::Mul, &[a, cos])?, c.node(Op::Mul, &[b, sin])?];
    let [a_sin, b_cos] = [c.node(Op::Mul, &[a, sin])?, c.node(Op::Mul, &[b, cos])?];
    let real = c.node(Op::Sub, &[a_cos, b_sin])?;
    let imaginary = c.node(Op::Add, &[a_sin, b_cos])?;
    let mut y = match interleaved {
        true => {
            let pair = [batch, heads, length, half, 1];
            let (real, imaginary) = (c.reshape(real, &pair)?, c.reshape(imaginary, &pair)?);
            let both = c.node(Op::Concat { axis: 4 }, &[real, imaginary])?;
            c.reshape(both, &[batch, heads, length, rotated])?
        }
        false => c.node(Op::Concat { axis: 3 }, &[real, imaginary])?,
    };
    if let Some(rest) = rest {
        y = c.node(Op::Concat { axis: 3 }, &[y, rest])?;
    }
    if shape.len() == 3 {
        let perm = vec![0, 2, 1, 3];
        y = c.then(Op::Transpose { perm }, y)?;
        y = c.reshape(y, &shape)?;
    }
    Ok(y)
}
