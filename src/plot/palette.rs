//! The colours of the pictures.

/// Red, green, blue; sRGB.
pub(super) type Colour = [u8; 3];

pub(super) const BACKGROUND: Colour = [0x12, 0x16, 0x1c];
pub(super) const ASPHALT: Colour = [0x29, 0x2f, 0x38];
pub(super) const EDGE: Colour = [0x5c, 0x67, 0x75];
pub(super) const FIGURE: Colour = [0xf0, 0xf3, 0xf7];
pub(super) const MUTED: Colour = [0x93, 0x9e, 0xad];
pub(super) const CHEQUER_LIGHT: Colour = [0xf5, 0xf7, 0xfa];
pub(super) const CHEQUER_DARK: Colour = [0x0a, 0x0c, 0x10];
pub(super) const TROUBLE: Colour = [0xff, 0x5a, 0x4f];
pub(super) const GOOD: Colour = [0x58, 0xc7, 0x8b];
/// What was recorded, and the answers of one engine and another to it. They differ in lightness, too.
pub(super) const RECORDED: Colour = [0xf0, 0xf3, 0xf7];
pub(super) const ANSWERS: [Colour; 2] = [[0xfb, 0xab, 0x3c], [0x5a, 0x8f, 0xe6]];

/// The colour scale, from slow to fast. The lightness rises monotonically, so that the scale can be
/// read in greyscale and by colour-blind readers.
const SPEEDS: [Colour; 6] = [
    [0x4a, 0x3a, 0xc8],
    [0x8f, 0x36, 0xc4],
    [0xcf, 0x43, 0x96],
    [0xf0, 0x70, 0x5c],
    [0xfb, 0xab, 0x3c],
    [0xf7, 0xed, 0x5f],
];

/// The colour at the position `share` of the scale, from slow (0) to fast (1).
pub(super) fn speed_colour(share: f64) -> Colour {
    let place = share.clamp(0.0, 1.0) * (SPEEDS.len() - 1) as f64;
    let below = (place as usize).min(SPEEDS.len() - 2);
    let part = place - below as f64;
    let (from, to) = (SPEEDS[below], SPEEDS[below + 1]);
    std::array::from_fn(|c| {
        (f64::from(from[c]) + part * (f64::from(to[c]) - f64::from(from[c]))).round() as u8
    })
}
