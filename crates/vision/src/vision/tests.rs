mod reference;

use proptest::prelude::*;

use super::*;
use crate::resample::{Axis, WEIGHT_BITS};
use crate::{ColourOrder, Crop, Frame};
use reference::{byte_of, colours_of, even, formats, grey_of, orders, pictures};

/// The random generator of `tests/pillow/make.py`.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        (state >> 16) as u8
    })
    .take(count)
    .collect()
}

fn frame(format: PixelFormat, width: u32, height: u32, data: &[u8]) -> Frame {
    let mut frame = Frame::new(format, width, height).unwrap();
    frame.data_mut().copy_from_slice(data);
    frame
}

fn resized(preprocess: &Preprocess, frame: &Frame) -> Vec<u8> {
    let mut vision =
        Vision::new(preprocess, frame.width(), frame.height(), frame.format()).unwrap();
    let mut out = vec![0; vision.output_len()];
    vision.resize_to_u8(frame.view(), &mut out).unwrap();
    out
}

#[test]
fn results_equal_pillows_to_one_grey_level() {
    let lines = include_str!("../../tests/pillow/reference.txt").lines();
    let mut cases = 0;
    for line in lines.filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| fields[i].parse::<u32>().unwrap();
        let (width, height, channels) = (number(0), number(1), number(2));
        let expected: Vec<u8> = (0..fields[10].len() / 2)
            .map(|i| u8::from_str_radix(&fields[10][i * 2..][..2], 16).unwrap())
            .collect();
        let mut preprocess = Preprocess::new(number(7), number(8));
        preprocess.crop = Some(Crop {
            x: number(3),
            y: number(4),
            width: number(5),
            height: number(6),
        });
        if channels == 1 || fields[9] == "grey" {
            preprocess.colour = ColourOrder::Grey;
        }
        let format = if channels == 1 {
            PixelFormat::Grey8
        } else {
            PixelFormat::Rgb8
        };
        let data = noise((width * height * channels) as usize);
        let got = resized(&preprocess, &frame(format, width, height, &data));
        assert_eq!(got.len(), expected.len());
        let worst = got.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(
            worst <= Some(1),
            "{worst:?} grey levels off: {}",
            &line[..40]
        );
        cases += 1;
    }
    assert_eq!(cases, 9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_pixel_is_within_one_grey_level_of_the_definition(
        (frame, crop) in pictures(),
        colour in orders(),
        width in 2..40_u32,
        height in 2..40_u32,
    ) {
        let mut preprocess = Preprocess::new(width, height);
        preprocess.crop = Some(crop);
        preprocess.colour = colour;
        let got = resized(&preprocess, &frame);
        let channels = colour.channels();
        for (i, &level) in got.iter().enumerate() {
            let (pixel, channel) = (i / channels, i % channels);
            let at = (pixel as u32 % width, pixel as u32 / width);
            let size = (width, height);
            let expected = match colour {
                ColourOrder::Rgb => colours_of(&frame, crop, size, at)[channel],
                ColourOrder::Bgr => colours_of(&frame, crop, size, at)[2 - channel],
                ColourOrder::Grey => grey_of(&frame, crop, size, at),
            };
            prop_assert!((f64::from(level) - expected).abs() < 1.0, "{level} for {expected}");
        }
    }

    #[test]
    fn the_float_input_is_the_u8_input_scaled_and_laid_out(
        (frame, crop) in pictures(),
        colour in orders(),
        width in 2..20_u32,
        height in 2..20_u32,
        scale in 0.001..2.0_f32,
        mean in proptest::array::uniform3(-1.0..1.0_f32),
        std in proptest::array::uniform3(0.1..2.0_f32),
    ) {
        let mut preprocess = Preprocess {
            crop: Some(crop),
            width,
            height,
            colour,
            layout: Layout::Nhwc,
            scale,
            mean,
            std,
        };
        let levels = resized(&preprocess, &frame);
        let channels = colour.channels();
        let plane = (width * height) as usize;
        for layout in [Layout::Nhwc, Layout::Nchw] {
            preprocess.layout = layout;
            let mut vision =
                Vision::new(&preprocess, frame.width(), frame.height(), frame.format()).unwrap();
            let mut input = vec![f32::NAN; vision.output_len()];
            vision.run(frame.view(), &mut input).unwrap();
            let mut scaled = vec![f32::NAN; vision.output_len()];
            vision.scale(&levels, &mut scaled).unwrap();
            prop_assert_eq!(&input, &scaled);
            for (i, &level) in levels.iter().enumerate() {
                let (pixel, channel) = (i / channels, i % channels);
                let place = match layout {
                    Layout::Nhwc => i,
                    Layout::Nchw => channel * plane + pixel,
                };
                let expected = (f32::from(level) * scale - mean[channel]) / std[channel];
                prop_assert_eq!(input[place], expected);
            }
        }
    }

    #[test]
    fn pixels_outside_the_crop_have_no_influence((frame, crop) in pictures(), size in 2..40_u32) {
        let mut preprocess = Preprocess::new(size, size);
        preprocess.crop = Some(crop);
        let before = resized(&preprocess, &frame);
        let mut inverted = frame.clone();
        let mut inside = vec![false; frame.data().len()];
        for y in crop.y..crop.y + crop.height {
            for x in crop.x..crop.x + crop.width {
                for channel in 0..3 {
                    inside[byte_of(&frame, x as usize, y as usize, channel)] = true;
                }
            }
        }
        for (byte, inside) in inverted.data_mut().iter_mut().zip(inside) {
            if !inside {
                *byte = !*byte;
            }
        }
        prop_assert_eq!(before, resized(&preprocess, &inverted));
    }

    #[test]
    fn every_instruction_set_gives_the_same_bytes(
        format in formats(),
        sides in (1..100_u32, 1..60_u32),
        place in (0.0..1.0_f64, 0.0..1.0_f64, 0.0..1.0_f64, 0.0..1.0_f64),
        colour in orders(),
        size in (3..120_u32, 2..40_u32),
        seed: u64,
    ) {
        let (width, height) = even(format, sides.0, sides.1);
        let within = |share: f64, most: u32| (share * f64::from(most)) as u32;
        let (x, y) = (within(place.0, width), within(place.1, height));
        let mut preprocess = Preprocess::new(size.0, size.1);
        preprocess.colour = colour;
        preprocess.crop = Some(Crop {
            x,
            y,
            width: 1 + within(place.2, width - x),
            height: 1 + within(place.3, height - y),
        });
        let noise = noise(format.frame_len(width, height).unwrap() + seed as usize % 1_000);
        let len = format.frame_len(width, height).unwrap();
        let frame = frame(format, width, height, &noise[noise.len() - len..]);
        let with = |set| {
            let mut vision =
                Vision::with_instruction_set(&preprocess, width, height, format, set).unwrap();
            let mut out = vec![0; vision.output_len()];
            vision.resize_to_u8(frame.view(), &mut out).unwrap();
            out
        };
        let plain = with(InstructionSet::Scalar);
        for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            prop_assert_eq!(&with(set), &plain, "{} {:?}", set, format);
        }
    }

    #[test]
    fn a_flat_picture_stays_flat(
        level: u8,
        from in 1..600_u32,
        to in 1..600_u32,
    ) {
        prop_assume!(from <= to * GREATEST_SHRINK);
        let mut grey = Preprocess::new(to, 1);
        grey.colour = ColourOrder::Grey;
        let flat = frame(PixelFormat::Grey8, from, 1, &vec![level; from as usize]);
        prop_assert_eq!(resized(&grey, &flat), vec![level; to as usize]);
    }
}

/// The worst input for the rounded weights: white exactly where they were rounded up, along one
/// axis at a ratio of 31.7, just under [`GREATEST_SHRINK`].
#[test]
fn a_great_shrink_is_exact_enough_for_any_picture() {
    let (from, to) = (1_013, 32);
    let axis = Axis::triangle(from, to);
    let exact = |i: u32, p: u32| {
        let shrink = f64::from(from) / f64::from(to);
        let weight = |p: u32| {
            let centre = (f64::from(i) + 0.5) * shrink;
            (1.0 - (f64::from(p) + 0.5 - centre).abs() / shrink).max(0.0)
        };
        weight(p) / (0..from).map(weight).sum::<f64>()
    };
    for i in 0..to {
        let (first, weights) = axis.taps(i as usize);
        let gain: f64 = (first as u32..)
            .zip(weights)
            .map(|(p, &w)| (f64::from(w) / f64::from(1 << WEIGHT_BITS) - exact(i, p)).max(0.0))
            .sum();
        assert!(
            gain * 255.0 < 0.25,
            "output {i}: {} grey levels",
            gain * 255.0
        );
    }
}

/// Uses a frame of a camera's size.
#[test]
fn a_camera_frame_is_resized_as_defined() {
    let all = [
        PixelFormat::Rgb8,
        PixelFormat::Bgr8,
        PixelFormat::Grey8,
        PixelFormat::Yuyv,
        PixelFormat::Uyvy,
        PixelFormat::Nv12,
    ];
    for format in all {
        let data = noise(format.frame_len(640, 480).unwrap());
        let frame = frame(format, 640, 480, &data);
        let mut preprocess = Preprocess::new(200, 66);
        preprocess.crop = crop(0, 240, 640, 240);
        let got = resized(&preprocess, &frame);
        let crop = preprocess.crop.unwrap();
        for (x, y) in [(0, 0), (199, 0), (0, 65), (199, 65), (77, 31), (198, 64)] {
            let expected = colours_of(&frame, crop, (200, 66), (x, y));
            let pixel = &got[(y * 200 + x) as usize * 3..][..3];
            for (&level, expected) in pixel.iter().zip(expected) {
                assert!(
                    (f64::from(level) - expected).abs() < 1.0,
                    "{format:?} at {x}, {y}: {pixel:?} for {expected}"
                );
            }
        }
    }
}

#[test]
fn odd_sides_are_rejected_for_formats_with_shared_chroma() {
    let whole = Preprocess::new(20, 10);
    let new = |format, width, height| {
        Vision::new(&whole, width, height, format)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    for format in [PixelFormat::Yuyv, PixelFormat::Uyvy] {
        assert_eq!(new(format, 64, 47), Ok(()));
        assert!(
            new(format, 63, 48)
                .unwrap_err()
                .contains("width must be even")
        );
    }
    assert_eq!(new(PixelFormat::Nv12, 64, 48), Ok(()));
    for (width, height) in [(63, 48), (64, 47)] {
        let error = new(PixelFormat::Nv12, width, height).unwrap_err();
        assert!(error.contains("must be even"), "{error}");
    }
}

#[test]
fn invalid_settings_are_rejected() {
    type Change = fn(&mut Preprocess);
    let whole = Preprocess::new(20, 10);
    let new = |p: &Preprocess| Vision::new(p, 64, 48, PixelFormat::Rgb8).map(|_| ());
    assert_eq!(new(&whole), Ok(()));

    let cases: [(Change, &str); 12] = [
        (|p| p.width = 0, "must be 1 to 4096"),
        (|p| p.height = u32::MAX, "must be 1 to 4096"),
        (|p| p.width = 1, "shrinks more than 32 times"),
        (|p| p.scale = 0.0, "`scale`"),
        (|p| p.scale = f32::NAN, "`scale`"),
        (|p| p.mean[1] = f32::INFINITY, "`mean`"),
        (|p| p.std[2] = 0.0, "`std`"),
        (|p| p.std[0] = f32::NAN, "`std`"),
        (
            |p| p.crop = crop(60, 0, 5, 5),
            "does not lie within the 64 x 48",
        ),
        (|p| p.crop = crop(0, 48, 5, 1), "does not lie within"),
        (|p| p.crop = crop(0, 0, 0, 5), "does not lie within"),
        (|p| p.crop = crop(u32::MAX, 0, 2, 5), "does not lie within"),
    ];
    for (change, message) in cases {
        let mut changed = whole.clone();
        change(&mut changed);
        let error = new(&changed).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    for (width, height) in [(0, 48), (64, 0), (16_385, 48), (64, u32::MAX)] {
        let error = Vision::new(&whole, width, height, PixelFormat::Rgb8).unwrap_err();
        assert_eq!(error, VisionError::FrameSize { width, height });
    }
}

fn crop(x: u32, y: u32, width: u32, height: u32) -> Option<Crop> {
    Some(Crop {
        x,
        y,
        width,
        height,
    })
}

#[test]
fn a_frame_of_another_size_or_format_is_rejected() {
    let mut vision = Vision::new(&Preprocess::new(4, 4), 8, 8, PixelFormat::Rgb8).unwrap();
    let mut out = vec![0; vision.output_len()];
    let frame = Frame::new(PixelFormat::Rgb8, 8, 8).unwrap();
    let good = frame.view();
    assert_eq!(vision.resize_to_u8(good, &mut out), Ok(()));

    for other in [
        FrameView { width: 9, ..good },
        FrameView { height: 7, ..good },
        FrameView {
            format: PixelFormat::Bgr8,
            ..good
        },
    ] {
        let result = vision.resize_to_u8(other, &mut out);
        assert!(matches!(result, Err(VisionError::FrameKind { .. })));
    }
    let short = FrameView {
        data: &good.data[1..],
        ..good
    };
    let expected = VisionError::FrameLength {
        expected: 192,
        got: 191,
    };
    assert_eq!(vision.resize_to_u8(short, &mut out), Err(expected.clone()));
    assert_eq!(frame.clone().copy_from(short), Err(expected));
    let result = vision.run(good, &mut [0.0; 47]);
    let expected = VisionError::OutputLength {
        expected: 48,
        got: 47,
    };
    assert_eq!(result, Err(expected));
}

#[test]
fn a_recipe_reads_from_toml() {
    let recipe = "crop = { x = 0, y = 240, width = 640, height = 240 }\n\
                  width = 200\nheight = 66\ncolour = \"bgr\"\nlayout = \"nhwc\"\n\
                  scale = 1.0\nmean = [1.0, 2.0, 3.0]\nstd = [4.0, 5.0, 6.0]\n";
    let expected = Preprocess {
        crop: crop(0, 240, 640, 240),
        width: 200,
        height: 66,
        colour: ColourOrder::Bgr,
        layout: Layout::Nhwc,
        scale: 1.0,
        mean: [1.0, 2.0, 3.0],
        std: [4.0, 5.0, 6.0],
    };
    let read: Preprocess = toml::from_str(recipe).unwrap();
    assert_eq!(read, expected);
    assert_eq!(read.shape(), [1, 66, 200, 3]);

    let minimal: Preprocess = toml::from_str("width = 4\nheight = 2").unwrap();
    assert_eq!(minimal, Preprocess::new(4, 2));
    assert_eq!(minimal.shape(), [1, 3, 2, 4]);

    let unknown = toml::from_str::<Preprocess>("width = 4\nheight = 2\ncolor = \"rgb\"");
    assert!(
        unknown
            .unwrap_err()
            .to_string()
            .contains("unknown field `color`")
    );
}
