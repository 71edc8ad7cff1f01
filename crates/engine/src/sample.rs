//! Samples: all inputs of a network for one frame, as bytes.
//!
//! A sample is the pixels of the first input, values from 0 to 255, all channels of a pixel side by side
//! (of several pictures along an axis of their own, one after the other, the oldest first), and then the
//! elements of the other inputs as little-endian f32.

use crate::{Buffer, InputsError, PictureForm};

/// Fills the inputs of an engine from a sample. `form` is that of the pixels that the sample has side by
/// side: several pictures one behind the other along the channels count as one. `centre` is subtracted
/// from the pixels of an f32 input, and 128 from those of an i8 input.
///
/// # Errors
/// If the sample has another length.
pub fn fill_inputs(
    sample: &[u8],
    form: PictureForm,
    centre: u8,
    inputs: &mut [Buffer],
) -> Result<(), InputsError> {
    let len = |input: &Buffer| input.as_ref().len();
    let Some((first, others)) = inputs.split_first_mut() else {
        return Ok(());
    };
    let pixels = len(first);
    let (expected, found) = (
        pixels + 4 * others.iter().map(len).sum::<usize>(),
        sample.len(),
    );
    if found != expected {
        return Err(InputsError::Sample { expected, found });
    }
    let (pixels, numbers) = sample.split_at(pixels);
    let centre = f32::from(centre);
    match first {
        Buffer::F32(to) => place(form, pixels, to, |pixel| f32::from(pixel) - centre),
        Buffer::I8(to) => place(form, pixels, to, |pixel| (pixel ^ 0x80).cast_signed()),
        _ => {}
    }
    let mut words = numbers.as_chunks::<4>().0.iter();
    for other in others {
        if let Buffer::F32(values) = other {
            for (value, &word) in values.iter_mut().zip(&mut words) {
                *value = f32::from_le_bytes(word);
            }
        }
    }
    Ok(())
}

/// Writes pictures of interleaved channels in the form of the input.
fn place<T>(form: PictureForm, pixels: &[u8], to: &mut [T], value: impl Fn(u8) -> T) {
    let planes = match form.interleaved {
        true => 1,
        false => form.channels.max(1),
    };
    let size = form.len.max(1);
    for (picture, to) in pixels.chunks(size).zip(to.chunks_mut(size)) {
        let in_order = (0..planes).flat_map(|plane| picture.iter().skip(plane).step_by(planes));
        for (to, &pixel) in to.iter_mut().zip(in_order) {
            *to = value(pixel);
        }
    }
}
