//! Rules that hold for every input.

use std::cmp::Ordering;
use std::path::PathBuf;

use pilotage_dataset::{
    FolderWriter, PictureFile, Record, Recording, TubWriter, decode, evenly, natural,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::support::*;

fn records() -> impl Strategy<Value = Vec<Record>> {
    let command = || option::of(-1.0..=1.0_f64);
    let speed = || option::of(-1e3..1e3_f64);
    let extra = option::of(-1e6..1e6_f64);
    let record = (
        command(),
        command(),
        speed(),
        speed(),
        option::of(0.0..4e9_f64),
        extra,
    )
        .prop_map(
            |(steering, throttle, speed, yaw_rate, time, extra)| Record {
                steering,
                throttle,
                speed,
                yaw_rate,
                time,
                extra: extra
                    .map(|extra| ("pilot/angle".into(), extra))
                    .into_iter()
                    .collect(),
                ..Record::default()
            },
        );
    vec(record, 1..20)
}

/// Bytes that look like a list, and bytes that do not.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let alphabet = "image_name,v,w,timestamp\n\r\";\t{}[]:0123456789.-e \0\u{feff}\u{e9}\\/";
    let alphabet: Vec<char> = alphabet.chars().collect();
    let like = vec(prop::sample::select(alphabet), 0..400)
        .prop_map(|text| text.into_iter().collect::<String>().into_bytes());
    let titles = like
        .clone()
        .prop_map(|text| [b"image_name,v\n", &text[..]].concat());
    prop_oneof![like, titles, vec(any::<u8>(), 0..400)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_to_a_folder_is_read(records in records()) {
        let folder = Folder::new();
        let path = folder.path().join("recording");
        let mut writer = FolderWriter::create(&path, &["pilot/angle".to_owned()], None).unwrap();
        for (index, record) in records.iter().enumerate() {
            let bytes = if index % 2 == 0 { jpeg(index) } else { png(&picture(index, 8, 4)) };
            writer.write(record, PictureFile::new(&bytes).unwrap()).unwrap();
        }
        prop_assert_eq!(writer.finish().unwrap(), records.len() as u64);
        let read = Recording::open(&path).unwrap();
        prop_assert_eq!(read.records().len(), records.len());
        for (index, (found, record)) in read.records().iter().zip(&records).enumerate() {
            let extension = if index % 2 == 0 { "jpg" } else { "png" };
            let expected = Record {
                picture: PathBuf::from(format!("{index:06}.{extension}")),
                line: index as u64 + 2,
                ..record.clone()
            };
            prop_assert_eq!(found, &expected);
            prop_assert!(read.decode(found).is_ok());
        }
    }

    #[test]
    fn what_is_written_to_a_tub_is_read(records in records()) {
        let folder = Folder::new();
        let path = folder.path().join("tub");
        let extra = ["pilot/angle".to_owned()];
        let mut writer = TubWriter::create(&path, &extra, 7.0, "26-01-01_0", None).unwrap();
        let bytes = jpeg(0);
        let drawn = records.iter().map(|record| Record {
            steering: Some(record.steering.unwrap_or(0.0)),
            throttle: Some(record.throttle.unwrap_or(0.0)),
            ..record.clone()
        });
        let drawn: Vec<_> = drawn.collect();
        for record in &drawn {
            writer.write(record, PictureFile::new(&bytes).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        let read = Recording::open(&path).unwrap();
        prop_assert_eq!(read.records().len(), drawn.len());
        for (found, record) in read.records().iter().zip(&drawn) {
            // JSON is read to the last digit but one.
            let close = |found: Option<f64>, expected: Option<f64>| {
                (found.unwrap() - expected.unwrap()).abs() < 1e-12
            };
            prop_assert!(close(found.steering, record.steering));
            prop_assert!(close(found.throttle, record.throttle));
            prop_assert_eq!(found.extra.len(), record.extra.len());
            for ((name, found), (expected, value)) in found.extra.iter().zip(&record.extra) {
                prop_assert_eq!(name, expected);
                prop_assert!((found - value).abs() <= value.abs() * 1e-12);
            }
            // Tubs have milliseconds.
            let difference = found.time.unwrap() - record.time.unwrap_or(7.0);
            prop_assert!(difference.abs() <= 0.0005 + 1e-6);
        }
    }

    #[test]
    fn no_list_makes_the_reader_panic_or_leave_the_folder(bytes in text()) {
        for list in [
            "data.csv", "manifest.json", "driving_log.csv", "record_1.json", "left_out.csv",
        ] {
            let folder = Folder::new();
            folder.frames(1).write(list, &bytes);
            match Recording::open(folder.path()) {
                Ok(recording) => {
                    for record in recording.records() {
                        let leaves = record.picture.components().any(|part| {
                            !matches!(part, std::path::Component::Normal(_))
                        });
                        prop_assert!(!leaves, "{record:?}");
                        let _ = recording.decode(record);
                    }
                }
                Err(error) => prop_assert!(!error.to_string().contains('\n')),
            }
        }
        let folder = Folder::new();
        folder.frames(1).write("catalog_0.catalog", &bytes).write(
            "manifest.json",
            "[]\n[]\n{}\n{}\n{\"paths\": [\"catalog_0.catalog\"]}\n",
        );
        let _ = Recording::open(folder.path());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        bytes in vec(any::<u8>(), 0..200),
        at in 0..600_usize,
        flip in 1..=255_u8,
    ) {
        let _ = decode(&bytes);
        for mut picture in [jpeg(1), png(&picture(1, 40, 30)), with_orientation(&jpeg(1), 6)] {
            let at = at % picture.len();
            picture[at] ^= flip;
            let _ = decode(&picture);
        }
    }

    #[test]
    fn the_order_of_names_is_total_and_by_numbers(
        names in vec("[a-c0-9_.]{0,6}", 3..4),
        numbers in (any::<u32>(), any::<u32>()),
    ) {
        let [a, b, c] = &names[..] else { unreachable!() };
        prop_assert_eq!(natural(a, b), natural(b, a).reverse());
        prop_assert_eq!(natural(a, b) == Ordering::Equal, a == b);
        if natural(a, b).is_le() && natural(b, c).is_le() {
            prop_assert!(natural(a, c).is_le(), "{names:?}");
        }
        let (one, other) = numbers;
        let name = |number| format!("frame_{number}.jpg");
        prop_assert_eq!(natural(&name(one), &name(other)), one.cmp(&other));
    }

    #[test]
    fn evenly_chosen_indices_are_distinct_and_spread(count in 1..5000_usize, most in 1..1200_usize) {
        let chosen = evenly(count, most);
        prop_assert_eq!(chosen.len(), count.min(most));
        prop_assert_eq!(chosen[0], 0);
        let gaps: Vec<_> = chosen.windows(2).map(|pair| pair[1] - pair[0]).collect();
        if let (Some(least), Some(largest)) = (gaps.iter().min(), gaps.iter().max()) {
            prop_assert!(*least >= 1 && largest - least <= 1);
        }
        prop_assert!(chosen[chosen.len() - 1] < count);
    }
}
