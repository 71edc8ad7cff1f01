use proptest::prelude::*;

use super::*;

/// The checksum of a PNG's chunk (PNG specification, annex D).
fn checksum(bytes: &[u8]) -> u32 {
    let all = bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| match sum & 1 {
            1 => 0xEDB8_8320 ^ (sum >> 1),
            _ => sum >> 1,
        })
    });
    !all
}

/// The same file, with another width and height in its header.
fn resized(png: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut png = png.to_vec();
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = checksum(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    png
}

proptest! {
    #[test]
    fn packing_is_lossless(
        (width, height, channels, count) in
            (1..40_u32, 1..20_u32, prop_oneof![Just(1_u32), Just(3)], 1..6_usize),
        seed in any::<u32>(),
    ) {
        let size = (width * height * channels) as usize;
        let pixels: Vec<u8> = (0..size * count)
            .map(|i| ((i as u32 ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let frames: Vec<&[u8]> = pixels.chunks(size).collect();
        let png = pack(&frames, (width, height)).unwrap();
        let unpacked = unpack(&png, pixels.len()).map(|(pixels, _)| pixels);
        prop_assert!(unpacked.as_deref() == Some(&pixels[..]));
        prop_assert!(unpack(&png, pixels.len() + 1).is_none());
        // A truncated file does not unpack.
        prop_assert!(unpack(&png[..png.len() / 2], pixels.len()).is_none());
    }
}

#[test]
fn pictures_are_separated_and_joined() {
    // Two pixels of two pictures of three channels.
    let side_by_side = [1, 2, 3, 11, 12, 13, 4, 5, 6, 14, 15, 16];
    let separate = unwoven(&side_by_side, 2, 3);
    assert_eq!(separate, [1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16]);
    assert_eq!(woven(&separate, 2, 3), side_by_side);
    assert_eq!(woven(&unwoven(&side_by_side, 4, 1), 4, 1), side_by_side);
}

#[test]
fn frames_of_different_sizes_are_not_packed() {
    let frame = [7; 12];
    assert!(pack(&[&frame, &frame], (2, 2)).is_ok());
    assert!(pack(&[&frame, &frame[1..]], (2, 2)).is_err());
    assert!(pack(&[], (2, 2)).is_err());
}

#[test]
fn a_huge_size_in_the_header_is_rejected() {
    let frame = [7; 12];
    let png = pack(&[&frame], (2, 2)).unwrap();
    assert_eq!(resized(&png, 2, 2), png);
    let huge = resized(&png, 60_000, 60_000);
    assert!(unpack(&huge, frame.len()).is_none());
    assert!(unpack(b"no picture", frame.len()).is_none());
}
