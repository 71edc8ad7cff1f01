//! A network of several pictures or of measured numbers that begins as one of fewer.

use pilotage_graph::{Graph, Tensor};

/// Writes the constants of `from` over those of `graph`, a network of the same form with more input
/// channels, or more inputs of its first fully connected layer. The first convolution gives no weight
/// to the channels that are new, which come first; their normalization is that of the others. Nor
/// does the fully connected layer to its new inputs, which come first too.
///
/// # Errors
/// What `from` lacks, if it is of another form.
pub fn widen(from: &Graph, graph: &mut Graph) -> Result<(), String> {
    for value in &mut graph.values {
        let Some(constant) = &mut value.constant else {
            continue;
        };
        let name = &value.name;
        let named = from.values.iter().find(|it| it.name == *name);
        let old = named.and_then(|named| named.constant.as_ref());
        let old = old.ok_or_else(|| format!("it has no constant `{name}`"))?;
        let numbers = old
            .as_f32()
            .and_then(|numbers| widened(numbers, old.shape(), &value.shape));
        let numbers = numbers.ok_or_else(|| {
            let (old, new) = (old.tensor_type(), &value.shape);
            format!("its constant `{name}` is {old}, which does not become {new:?}")
        })?;
        *constant = Tensor::new(value.shape.clone(), numbers).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The numbers of a wider tensor: the same shape, numbers by channel, or weights of a layer.
fn widened(numbers: &[f32], old: &[usize], new: &[usize]) -> Option<Vec<f32>> {
    match (old, new) {
        (old, new) if old == new => Some(numbers.to_vec()),
        (&[old], &[new]) if old > 0 && new.is_multiple_of(old) => Some(numbers.repeat(new / old)),
        ([units, channels, kernel @ ..], [same_units, more, same_kernel @ ..])
            if (units, kernel) == (same_units, same_kernel) && *channels > 0 && channels < more =>
        {
            let of_channel: usize = kernel.iter().product();
            let none = vec![0.0; (more - channels) * of_channel];
            let rows = numbers.chunks_exact((channels * of_channel).max(1));
            Some(rows.flat_map(|row| [&none[..], row].concat()).collect())
        }
        _ => None,
    }
}
