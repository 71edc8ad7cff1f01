use proptest::prelude::*;

use super::*;

/// Drives of these lengths, at 20 Hz, a minute apart.
fn recorded(drives: &[usize]) -> Vec<Record> {
    let mut records = Vec::new();
    for (drive, &length) in drives.iter().enumerate() {
        let start = drive as f64 * 1e4;
        records.extend((0..length).map(|index| Record {
            time: Some(start + index as f64 / 20.0),
            ..Record::default()
        }));
    }
    records
}

#[test]
fn whole_drives_are_held_back_where_there_are_enough() {
    let division = Division::of(&recorded(&[300; 10]), 0.2).unwrap();
    assert_eq!(division.by, "drives");
    let held: Vec<bool> = division.parts.iter().map(|part| part.1).collect();
    assert_eq!(held.iter().filter(|&&held| held).count(), 2);
    assert_eq!((held[2], held[7]), (true, true), "{held:?}");
}

#[test]
fn one_drive_is_divided_in_blocks_of_ten_seconds() {
    let division = Division::of(&recorded(&[4000]), 0.2).unwrap();
    assert_eq!(division.by, "blocks of time");
    assert!(
        division.parts.iter().all(|part| part.0 == 200),
        "{division:?}"
    );
    assert_eq!(held(&division.parts), 800);
    // Without times the same, in records.
    let untimed = vec![Record::default(); 4000];
    assert_eq!(Division::of(&untimed, 0.2).unwrap(), division);
}

#[test]
fn a_short_recording_has_one_block_and_a_shorter_one_none() {
    let division = Division::of(&recorded(&[40]), 0.2).unwrap();
    assert_eq!(held(&division.parts), 8);
    assert_eq!(division.parts.iter().filter(|part| part.1).count(), 1);
    let error = Division::of(&recorded(&[20]), 0.2).unwrap_err();
    assert!(
        error.to_string().contains("20 records are too few"),
        "{error}"
    );
}

#[test]
fn slow_recordings_are_not_drives_of_one_frame() {
    let slow: Vec<Record> = recorded(&[400])
        .into_iter()
        .map(|record| Record {
            time: record.time.map(|time| 100.0 * time),
            ..record
        })
        .collect();
    let division = Division::of(&slow, 0.2).unwrap();
    assert!(division.parts.iter().all(|part| part.0 >= LEAST_BLOCK));
}

proptest! {
    #[test]
    fn every_record_has_one_place_and_none_is_held_back_alone(
        drives in prop::collection::vec(1_usize..400, 1..12),
        share in 0.01_f64..0.5,
    ) {
        let records = recorded(&drives);
        let Ok(division) = Division::of(&records, share) else {
            prop_assert!((share * records.len() as f64) < LEAST_BLOCK as f64);
            return Ok(());
        };
        let held_back = division.held_back();
        prop_assert_eq!(held_back.len(), records.len());
        for run in held_back.chunk_by(|one, next| one == next) {
            prop_assert!(run.len() >= LEAST_BLOCK.min(records.len()), "{:?}", division);
        }
        let held = held_back.iter().filter(|&&held| held).count() as f64;
        let wanted = share * records.len() as f64;
        let longest = division.parts.iter().map(|part| part.0).max().unwrap_or(0) as f64;
        prop_assert!((held - wanted).abs() <= (0.5 * longest + 1.0).max(TOLERANCE * wanted));
    }
}
