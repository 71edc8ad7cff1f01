//! What the writers write, read again.

use std::fs;
use std::path::Path;

use pilotage_dataset::{FolderWriter, Format, PictureFile, Record, Recording, TubWriter};

use crate::support::*;

fn record(index: usize) -> Record {
    Record {
        steering: Some(index as f64 / 2000.0 - 0.25),
        throttle: Some(0.125),
        time: Some(1_767_225_600.0 + 0.05 * index as f64),
        extra: vec![("pilot/angle".into(), 0.5)],
        ..Record::default()
    }
}

#[test]
fn a_tub_has_the_files_that_donkeycar_writes() {
    let folder = Folder::new();
    let path = folder.path().join("tub");
    let extra = ["pilot/angle".to_owned()];
    let mut writer = TubWriter::create(&path, &extra, 1_767_225_600.5, "26-01-01_0").unwrap();
    let bytes = jpeg(0);
    for index in 0..1003 {
        writer
            .write(&record(index), PictureFile::new(&bytes).unwrap())
            .unwrap();
    }
    assert_eq!(writer.finish().unwrap(), 1003);
    let text = |name: &str| fs::read_to_string(path.join(name)).unwrap();
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let manifest = text("manifest.json");
    let lines: Vec<_> = manifest.lines().map(json).collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0][0], "cam/image_array");
    assert_eq!(
        lines[1],
        json("[\"image_array\", \"float\", \"float\", \"str\", \"float\"]")
    );
    assert_eq!(lines[3]["sessions"]["all_full_ids"][0], "26-01-01_0");
    assert_eq!(
        lines[4],
        json(
            "{\"paths\": [\"catalog_0.catalog\", \"catalog_1.catalog\"], \
              \"current_index\": 1003, \"max_len\": 1000, \"deleted_indexes\": []}"
        )
    );
    let second = text("catalog_1.catalog");
    let metadata = json(&text("catalog_1.catalog_manifest"));
    assert_eq!(metadata["start_index"], 1000);
    let lengths: Vec<_> = second.split_inclusive('\n').map(str::len).collect();
    assert_eq!(metadata["line_lengths"], serde_json::json!(lengths));
    let first = json(second.lines().next().unwrap());
    assert_eq!(
        first,
        serde_json::json!({
            "_index": 1000, "_session_id": "26-01-01_0", "_timestamp_ms": 1_767_225_650_000_u64,
            "cam/image_array": "1000_cam_image_array_.jpg", "user/angle": -0.25,
            "user/mode": "user", "user/throttle": 0.125, "pilot/angle": 0.5,
        })
    );
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.format(), Format::TubV2);
    for (index, found) in recording.records().iter().enumerate() {
        let expected = record(index);
        let error = found.steering.unwrap() - expected.steering.unwrap();
        assert!(error.abs() < 1e-12, "{found:?}");
        assert_eq!(
            (found.throttle, &found.extra),
            (expected.throttle, &expected.extra)
        );
    }
}

#[test]
fn a_writer_uses_only_an_empty_folder_and_names_what_is_missing() {
    let folder = Folder::new();
    folder.frames(1);
    let message = "FOLDER: is not empty; name a new folder";
    let refused = FolderWriter::create(folder.path(), &[]).unwrap_err();
    assert_eq!(folder.shorten(&refused.to_string()), message);
    let refused = TubWriter::create(folder.path(), &[], 0.0, "").unwrap_err();
    assert_eq!(folder.shorten(&refused.to_string()), message);
    let mut writer = TubWriter::create(&folder.path().join("tub"), &[], 0.0, "").unwrap();
    let record = Record {
        picture: Path::new("a.jpg").to_owned(),
        throttle: Some(0.0),
        ..Record::default()
    };
    let bytes = jpeg(0);
    let error = writer
        .write(&record, PictureFile::new(&bytes).unwrap())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the record of a.jpg has no steering"),
        "{error}"
    );
    assert!(PictureFile::new(b"GIF89a").is_none());
}
