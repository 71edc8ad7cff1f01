//! What the writers write, read again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use pilotage_dataset::{
    DatasetError, FolderWriter, Format, McapWriter, PictureFile, Record, Recording, TubWriter,
    read_domain, write_domain,
};
use pilotage_vehicle::{Domain, Measurements, Rays, Scan};

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

fn scan(first: u16) -> Arc<Scan> {
    Arc::new(Scan {
        rays: Rays::new(3, -135.0, 135.0).unwrap(),
        millimetres: vec![first, 0, u16::MAX],
    })
}

#[test]
fn a_tub_has_the_files_that_donkeycar_writes() {
    let folder = Folder::new();
    let path = folder.path().join("tub");
    let extra = ["pilot/angle".to_owned()];
    let mut writer = TubWriter::create(
        &path,
        &extra,
        1_767_225_600.5,
        "26-01-01_0",
        Some(Domain::Physical),
    )
    .unwrap();
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
    assert_eq!(recording.domain(), Some(Domain::Physical));
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
    let refused = FolderWriter::create(folder.path(), &[], None).unwrap_err();
    assert_eq!(folder.shorten(&refused.to_string()), message);
    let refused = TubWriter::create(folder.path(), &[], 0.0, "", None).unwrap_err();
    assert_eq!(folder.shorten(&refused.to_string()), message);
    let mut writer = TubWriter::create(&folder.path().join("tub"), &[], 0.0, "", None).unwrap();
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

#[test]
fn every_writer_keeps_the_domain() {
    let folder = Folder::new();
    let at = |name: &str| folder.path().join(name);
    let bytes = jpeg(3);
    for domain in [None, Some(Domain::Simulated), Some(Domain::Physical)] {
        let name = |kind: &str| at(&format!("{kind}-{domain:?}"));
        let mut list = FolderWriter::create(&name("list"), &[], domain).unwrap();
        let mut tub = TubWriter::create(&name("tub"), &[], 0.0, "", domain).unwrap();
        let mut log = McapWriter::create(&name("log"), domain).unwrap();
        let picture = || PictureFile::new(&bytes).unwrap();
        list.write(&record(0), picture()).unwrap();
        tub.write(&record(0), picture()).unwrap();
        log.write(&record(0), picture()).unwrap();
        assert_eq!(
            [list.finish(), tub.finish(), log.finish()].map(Result::unwrap),
            [1; 3]
        );
        for kind in ["list", "tub", "log"] {
            let recording = Recording::open(&name(kind)).unwrap();
            assert_eq!(recording.domain(), domain, "{kind}");
        }
    }
    write_domain(folder.path(), Domain::Simulated).unwrap();
    assert_eq!(read_domain(folder.path()).unwrap(), Some(Domain::Simulated));
    for text in [
        "{\"domain\": \"moon\"}",
        "{\"domain\": 1}",
        "[]",
        "3",
        "domain",
        "",
        "\0",
    ] {
        fs::write(at("recording.json"), text).unwrap();
        let error = read_domain(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("recording.json: ") && error.contains("\"physical\"}"),
            "{error}"
        );
    }
    // A larger file is not cut off, and then called damaged.
    let large = format!("{{\"domain\": \"physical\"}}{}", " ".repeat(1 << 16));
    fs::write(at("recording.json"), large).unwrap();
    let error = read_domain(folder.path()).unwrap_err().to_string();
    assert!(error.contains("larger than 65536 bytes"), "{error}");
    // Not the same as a folder without the file: the name of the folder is too long for the system.
    let error = read_domain(&folder.path().join("x".repeat(300))).unwrap_err();
    assert!(matches!(error, DatasetError::File { .. }), "{error}");
    assert_eq!(read_domain(&at("no such folder")).unwrap(), None);
}

/// The MCAP library's own reader sees what Foxglove would; this crate's gives the records back.
#[test]
fn a_recording_becomes_a_log_and_records_again() {
    let folder = Folder::new();
    let path = folder.path().join("it.mcap");
    let mut writer = McapWriter::create(&path, None).unwrap();
    let records: Vec<Record> = (0..30)
        .map(|index| Record {
            steering: Some(index as f64 / 40.0 - 0.3),
            throttle: (index != 3).then_some(0.25),
            speed: Some(1.5),
            yaw_rate: Some(-0.5),
            time: Some(1_767_225_600.0 + 0.05 * index as f64),
            scan: (index > 5).then(|| scan((index / 20) as u16)),
            ..Record::default()
        })
        .collect();
    for (index, record) in records.iter().enumerate() {
        let bytes = jpeg(index);
        writer
            .write(record, PictureFile::new(&bytes).unwrap())
            .unwrap();
    }
    assert_eq!(writer.finish().unwrap(), 30);
    let refused = McapWriter::create(&path, None).unwrap_err().to_string();
    assert!(refused.contains("exists"), "{refused}");

    let bytes = fs::read(&path).unwrap();
    let messages: Vec<_> = mcap::MessageStream::new(&bytes)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    // Two scans.
    assert_eq!(messages.len(), 62);
    for message in &messages {
        let schema = message.channel.schema.as_ref().unwrap();
        let schema: serde_json::Value = serde_json::from_slice(&schema.data).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&message.data).unwrap();
        for key in value.as_object().unwrap().keys() {
            assert!(schema["properties"][key].is_object(), "{key}: {schema}");
        }
    }
    let schema = &messages[0].channel.schema.as_ref().unwrap().name;
    assert_eq!(schema, "foxglove.CompressedImage");
    assert!(mcap::Summary::read(&bytes).unwrap().is_some());

    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.format(), Format::Mcap);
    assert_eq!(recording.records().len(), 30);
    for (index, (found, expected)) in recording.records().iter().zip(&records).enumerate() {
        let error = found.steering.unwrap() - expected.steering.unwrap();
        assert!(error.abs() < 1e-12, "{found:?}");
        assert_eq!(found.throttle, expected.throttle);
        assert_eq!(
            (found.speed, found.yaw_rate),
            (expected.speed, expected.yaw_rate)
        );
        assert!((found.time.unwrap() - expected.time.unwrap()).abs() < 1e-6);
        assert_eq!(found.scan, expected.scan);
        assert_eq!(recording.picture_file(found).unwrap(), jpeg(index));
    }
}

/// Two drives: the second one's clock starts again, and a picture has no time.
#[test]
fn a_log_keeps_the_order_and_the_times_of_its_records() {
    let folder = Folder::new();
    let path = folder.path().join("it.mcap");
    let mut writer = McapWriter::create(&path, None).unwrap();
    let times = [
        Some(50.0),
        Some(50.5),
        None,
        Some(-1.5),
        Some(0.0),
        Some(0.25),
    ];
    for (index, time) in times.into_iter().enumerate() {
        let record = Record {
            time,
            ..record(index)
        };
        let bytes = jpeg(index);
        writer
            .write(&record, PictureFile::new(&bytes).unwrap())
            .unwrap();
    }
    writer.finish().unwrap();
    let recording = Recording::open(&path).unwrap();
    assert_eq!(folder.notes(&recording), [] as [String; 0]);
    let found: Vec<_> = recording.records().iter().map(|it| it.time).collect();
    assert_eq!(found, times);
    for (index, found) in recording.records().iter().enumerate() {
        let error = found.steering.unwrap() - record(index).steering.unwrap();
        assert!(error.abs() < 1e-12, "{found:?}");
        assert_eq!(recording.picture_file(found).unwrap(), jpeg(index));
    }
}

#[test]
fn measured_numbers_and_commands_are_read_back() {
    let folder = Folder::new();
    let bytes = jpeg(0);
    let records: Vec<Record> = (0..6)
        .map(|index| {
            let mut record = record(index);
            record.extra.clear();
            if index > 0 {
                let number = index as f32 / 3.0;
                let numbers = [Some(number), Some(-number), None, Some(0.0)];
                record.measured = Measurements::new(numbers);
                record.command = Some(["left", "right"][index % 2].into());
            }
            record
        })
        .collect();
    let columns: BTreeSet<&str> = records.iter().flat_map(Record::columns).collect();
    let columns: Vec<String> = columns.into_iter().map(str::to_owned).collect();
    assert_eq!(columns.len(), 4, "{columns:?}");
    let (list, log) = (folder.path().join("list"), folder.path().join("it.mcap"));
    let mut writer = FolderWriter::create(&list, &columns, None).unwrap();
    let mut messages = McapWriter::create(&log, None).unwrap();
    for record in &records {
        let picture = PictureFile::new(&bytes).unwrap();
        writer.write(record, picture).unwrap();
        messages.write(record, picture).unwrap();
    }
    assert_eq!(
        (writer.finish().unwrap(), messages.finish().unwrap()),
        (6, 6)
    );
    for path in [&list, &log] {
        let recording = Recording::open(path).unwrap();
        for (found, expected) in recording.records().iter().zip(&records) {
            assert_eq!(found.measured, expected.measured, "{}", path.display());
            assert_eq!(found.command, expected.command, "{}", path.display());
            assert_eq!(found.steering, expected.steering);
        }
    }
    // A text that is no name is an error that names the column.
    let text = fs::read_to_string(list.join("data.csv")).unwrap();
    fs::write(list.join("data.csv"), text.replacen("left", "Go left", 1)).unwrap();
    let error = Recording::open(&list).unwrap_err().to_string();
    assert!(
        error.contains("`command`") && error.contains("`Go left`"),
        "{error}"
    );
}
