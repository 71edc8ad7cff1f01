//! RotaryEmbedding (opset 23 and later).

use super::attention::{four, split_heads};
use super::reductions::full_slice;
use super::{Composer, Source};
use crate::read::operators::Site;
use crate::{Op, OpError};

type Composed = Result<Source, OpError>;

/// The sizes of the input, after it was split into heads.
struct Heads {
    batch: usize,
    heads: usize,
    length: usize,
    size: usize,
    /// How many elements of a head are rotated, an even number.
    rotated: usize,
}

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
    let of = Heads {
        batch,
        heads,
        length,
        size,
        rotated: rotated_size(rotated, size)?,
    };
    let angles = [
        of.angles(c, site, 1, "cos_cache")?,
        of.angles(c, site, 2, "sin_cache")?,
    ];
    let mut y = of.rotate(c, x, angles, interleaved)?;
    if of.rotated < size {
        let rest = of.part(c, x, [of.rotated, 1, size - of.rotated])?;
        y = c.node(Op::Concat { axis: 3 }, &[y, rest])?;
    }
    if shape.len() == 3 {
        let perm = vec![0, 2, 1, 3];
        y = c.then(Op::Transpose { perm }, y)?;
        y = c.reshape(y, &shape)?;
    }
    Ok(y)
}

/// The number of rotated elements of a head of `size`; all if 0 is given.
fn rotated_size(given: i64, size: usize) -> Result<usize, OpError> {
    let rotated = match given {
        0 => Some(size),
        given => usize::try_from(given).ok(),
    };
    rotated
        .filter(|rotated| *rotated <= size && rotated % 2 == 0)
        .ok_or_else(|| OpError::Attribute {
            attribute: "rotary_embedding_dim",
            found: given.to_string(),
            expected: "an even number, at most the size of a head",
        })
}

impl Heads {
    /// The cosines or sines at the positions.
    fn angles(
        &self,
        c: &mut Composer<'_>,
        site: &Site<'_>,
        i: usize,
        input: &'static str,
    ) -> Composed {
        let cache = site.source(i, input)?;
        let cache = match site.optional(3) {
            Some(_) => super::movement::rows(c, site, i, 3)?,
            None => cache,
        };
        let (length, half) = (self.length, self.rotated / 2);
        match c.shape(cache)[..] {
            [n, of, pairs] if [of, pairs] == [length, half] && (n == 1 || n == self.batch) => {
                c.reshape(cache, &[n, 1, length, half])
            }
            _ => Err(OpError::Shape {
                input,
                found: c.shape(cache),
                expected: format!("[{}, {length}, {half}] at the positions", self.batch),
            }),
        }
    }

    /// Every `step`th element of each head, `count` of them from `start` on.
    fn part(&self, c: &mut Composer<'_>, x: Source, [start, step, count]: [usize; 3]) -> Composed {
        let mut axes = full_slice(&[self.batch, self.heads, self.length, self.size]);
        axes[3].start = start;
        axes[3].step = step.cast_signed();
        axes[3].length = count;
        c.then(Op::Slice { axes }, x)
    }

    /// The rotated elements. The elements of a pair are neighbours, or in the two halves.
    fn rotate(
        &self,
        c: &mut Composer<'_>,
        x: Source,
        [cos, sin]: [Source; 2],
        interleaved: bool,
    ) -> Composed {
        let half = self.rotated / 2;
        let places = match interleaved {
            true => [[0, 2, half], [1, 2, half]],
            false => [[0, 1, half], [half, 1, half]],
        };
        let (a, b) = (self.part(c, x, places[0])?, self.part(c, x, places[1])?);
        let [a_cos, b_sin] = [c.node(Op::Mul, &[a, cos])?, c.node(Op::Mul, &[b, sin])?];
        let [a_sin, b_cos] = [c.node(Op::Mul, &[a, sin])?, c.node(Op::Mul, &[b, cos])?];
        let real = c.node(Op::Sub, &[a_cos, b_sin])?;
        let imaginary = c.node(Op::Add, &[a_sin, b_cos])?;
        if !interleaved {
            return c.node(Op::Concat { axis: 3 }, &[real, imaginary]);
        }
        let pair = [self.batch, self.heads, self.length, half, 1];
        let (real, imaginary) = (c.reshape(real, &pair)?, c.reshape(imaginary, &pair)?);
        let both = c.node(Op::Concat { axis: 4 }, &[real, imaginary])?;
        c.reshape(both, &[self.batch, self.heads, self.length, self.rotated])
    }
}
