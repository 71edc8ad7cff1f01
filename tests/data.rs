//! `pilotage data` from the command line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use image::{Rgb, RgbImage};
use pilotage_dataset::{Format, Recording};
use serde_json::Value;
use tempfile::TempDir;

fn data(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .arg("data")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Standard output and standard error of a command that succeeds.
fn printed(output: Output) -> (String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, errors) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{errors}");
    (out, errors)
}

fn refused(output: Output) -> String {
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

/// A chequered picture, which is sharp; its brightness tells pictures apart.
fn picture(level: u8) -> RgbImage {
    RgbImage::from_fn(40, 30, |x, y| match (x / 4 + y / 4) % 2 {
        0 => Rgb([200, level, 40]),
        _ => Rgb([level, 60, 120]),
    })
}

/// 40 frames at 20 Hz with a gap of 2 s: black at 5, blurred at 10, repeated at 15.
fn recording(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let mut list = "image_name,v,w,timestamp,steering,throttle\n".to_owned();
    for index in 0..40_u8 {
        let picture = match index {
            5 => RgbImage::new(40, 30),
            10 => RgbImage::from_pixel(40, 30, Rgb([90, 90, 90])),
            15 => picture(14),
            _ => picture(index),
        };
        picture
            .save(folder.join(format!("{index:06}.png")))
            .unwrap();
        let time = f64::from(index) / 20.0 + if index >= 20 { 1.95 } else { 0.0 };
        let steering = f64::from(index) / 40.0 - 0.49;
        list += &format!("{index:06}.png,1,0.5,{time:.3},{steering},0.25\n");
    }
    fs::write(folder.join("data.csv"), list).unwrap();
}

#[test]
fn a_recording_is_shown_with_what_is_wrong_with_it() {
    let folder = TempDir::new().unwrap();
    recording(&folder.path().join("it"));
    let arguments = ["show", "it", "--json", "--picture", "sheet.png"];
    let (out, errors) = printed(data(folder.path(), &arguments));
    assert_eq!(errors, "");
    let content: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(content["format"], "data.csv");
    assert_eq!(content["records"], 40);
    assert_eq!(content["sizes"][0]["width"], 40);
    assert_eq!(content["black"], serde_json::json!(["000005.png"]));
    assert_eq!(content["blurred"], serde_json::json!(["000010.png"]));
    assert_eq!(content["repeated"], serde_json::json!(["000015.png"]));
    let number = |value: &Value| value.as_f64().unwrap();
    assert!((number(&content["times"]["rate"]) - 20.0).abs() < 0.01);
    assert_eq!(content["times"]["gaps"], 1);
    assert!((number(&content["times"]["longest_gap"]) - 2.0).abs() < 1e-9);
    let steering = &content["steering"];
    let bars = steering["histogram"].as_array().unwrap();
    assert_eq!(
        bars.iter().map(|bar| bar.as_u64().unwrap()).sum::<u64>(),
        40
    );
    assert!((number(&steering["least"]) + 0.49).abs() < 1e-9);
    // The bars cover what was recorded: evenly spread values of -0.49 to 0.485.
    assert_eq!(number(&steering["histogram_limit"]), 0.5);
    assert!(
        bars.iter()
            .all(|bar| [3, 4].contains(&bar.as_u64().unwrap())),
        "{bars:?}"
    );
    // -0.04, -0.015, 0.01, 0.035.
    assert!((number(&content["straight"]) - 0.1).abs() < 1e-9);
    let sheet = image::open(folder.path().join("sheet.png")).unwrap();
    assert!(sheet.width() > 10 * 160 && sheet.height() > 4 * 120);

    let (out, _) = printed(data(folder.path(), &["show", "it"]));
    for expected in [
        "it: data.csv",
        "20.00 Hz",
        "1, the longest 2.00 s",
        "1: 000005.png",
        "0.250 to 0.250",
        "10 % straight ahead",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    let error = refused(data(
        folder.path(),
        &["show", "it", "--picture", "sheet.jpg"],
    ));
    assert!(
        error.contains("sheet.jpg: a contact sheet is a PNG"),
        "{error}"
    );
}

#[test]
fn a_recording_becomes_a_tub_and_a_folder_again() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    recording(&at("it"));
    let (out, _) = printed(data(folder.path(), &["import", "it", "tub", "--tub"]));
    assert_eq!(out, "tub: 40 records, Donkeycar tub\n");
    let (out, _) = printed(data(folder.path(), &["import", "tub", "deep/back"]));
    assert_eq!(out, "deep/back: 40 records, data.csv\n");
    let (it, tub, back) = (at("it"), at("tub"), at("deep/back"));
    let [it, tub, back] = [it, tub, back].map(|folder| Recording::open(&folder).unwrap());
    for (index, first) in it.records().iter().enumerate() {
        for other in [&tub.records()[index], &back.records()[index]] {
            let error = first.steering.unwrap() - other.steering.unwrap();
            assert!(error.abs() < 1e-9, "{other:?}");
            assert_eq!(other.throttle, Some(0.25));
            assert!((other.time.unwrap() - first.time.unwrap()).abs() < 1e-3);
        }
        assert_eq!(back.records()[index].speed, None, "a tub has no speed");
        let pictures = [&it, &tub, &back].map(|it| it.decode(&it.records()[index]).unwrap());
        // Copied from the tub; JPEG there.
        assert_eq!(pictures[1], pictures[2]);
        let errors = pictures[0].rgb.iter().zip(&pictures[1].rgb);
        let error: u32 = errors.map(|(&a, &b)| u32::from(a.abs_diff(b))).sum();
        assert!(
            error / (pictures[0].rgb.len() as u32) < 24,
            "{index}: {error}"
        );
    }
    // Not into a folder with files; and nothing is left of an import that fails.
    let error = refused(data(folder.path(), &["import", "it", "tub"]));
    assert!(
        error.contains("tub: is not empty; name a new folder"),
        "{error}"
    );
    for index in 0..10 {
        fs::write(at("it").join(format!("{index:06}.png")), "").unwrap();
    }
    let error = refused(data(folder.path(), &["import", "it", "new"]));
    assert!(
        error.contains("10 of 40 pictures cannot be used, more than 5 %"),
        "{error}"
    );
    fs::write(at("deep/back/data.csv"), "image_name,v\n000000.jpg,1\n").unwrap();
    let error = refused(data(
        folder.path(),
        &["import", "deep/back", "new", "--tub"],
    ));
    assert!(
        error.contains("000000.jpg has no steering, which a tub needs"),
        "{error}"
    );
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    left.retain(|entry| {
        !["it", "tub", "deep"]
            .map(Into::into)
            .contains(&entry.as_ref().unwrap().file_name())
    });
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_range_is_marked_and_used_again() {
    let folder = TempDir::new().unwrap();
    recording(&folder.path().join("it"));
    let mark = |range: [&str; 2], more: &[&str]| {
        let arguments = [
            &["mark", "it", "--from", range[0], "--to", range[1]][..],
            more,
        ]
        .concat();
        data(folder.path(), &arguments)
    };
    let (out, _) = printed(mark(["10", "19"], &[]));
    assert!(
        out.starts_with("10 of 40 records are left out from now on; it/left_out.csv"),
        "{out}"
    );
    let (out, _) = printed(mark(["15", "39"], &["--used"]));
    assert!(out.starts_with("5 of 40 records are used again"), "{out}");
    let (out, _) = printed(data(folder.path(), &["show", "it", "--json"]));
    let content: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(content["records"], 35);
    assert!(!mark(["20", "40"], &[]).status.success());
}

#[test]
fn clean_marks_and_deletes_nothing() {
    let folder = TempDir::new().unwrap();
    let it = folder.path().join("it");
    recording(&it);
    for index in 30..36 {
        fs::write(it.join(format!("{index:06}.png")), "").unwrap();
    }
    let list = fs::read(it.join("data.csv")).unwrap();
    let (out, _) = printed(data(folder.path(), &["clean", "it", "--dry-run"]));
    assert_eq!(out, "8 of 40 records would be left out\n");
    assert!(!it.join("left_out.csv").exists());
    let (out, _) = printed(data(folder.path(), &["clean", "it"]));
    assert!(
        out.starts_with("8 of 40 records are left out from now on; it/left_out.csv"),
        "{out}"
    );
    assert_eq!(fs::read(it.join("data.csv")).unwrap(), list);
    assert_eq!(fs::read_dir(&it).unwrap().count(), 40 + 2);
    let (out, errors) = printed(data(folder.path(), &["show", "it", "--json"]));
    assert!(
        errors.contains("8 records are marked as deleted"),
        "{errors}"
    );
    let content: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(content["records"], 32);
    assert_eq!(content["bad_pictures"], serde_json::json!([]));
    // The picture is blurred by default only in what is shown.
    assert_eq!(content["blurred"], serde_json::json!(["000010.png"]));
    let (out, _) = printed(data(folder.path(), &["clean", "it", "--blurred"]));
    assert!(out.starts_with("1 of 32 records"), "{out}");
}

#[test]
fn clean_counts_the_same_with_and_without_dry_run() {
    let folder = TempDir::new().unwrap();
    let it = folder.path().join("it");
    recording(&it);
    // Two black pictures in a row: the second one repeats the first. And two rows of one picture,
    // which a mark would leave out both.
    RgbImage::new(40, 30).save(it.join("000006.png")).unwrap();
    let list = fs::read_to_string(it.join("data.csv")).unwrap();
    let list = list.replace("000021.png", "000020.png");
    fs::write(it.join("data.csv"), list).unwrap();
    let (dry, _) = printed(data(folder.path(), &["clean", "it", "--dry-run"]));
    assert_eq!(dry, "3 of 40 records would be left out\n");
    let (out, _) = printed(data(folder.path(), &["clean", "it"]));
    assert!(out.starts_with("3 of 40 records are left out"), "{out}");
    let left = Recording::open(&it).unwrap();
    assert_eq!(left.records().len(), 37);
    // What is marked already is neither counted nor marked again.
    let (out, _) = printed(data(folder.path(), &["clean", "it", "--dry-run"]));
    assert!(out.starts_with("0 of 37 records"), "{out}");
    let (out, _) = printed(data(folder.path(), &["clean", "it"]));
    assert_eq!(out, "it: nothing is marked; all 37 records are used\n");
}

/// The files below a folder, with their contents.
fn contents(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_recording_is_split_by_its_drives_and_stays_as_it_is() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("it")).unwrap();
    // Ten drives of twelve frames; the throttle is the drive.
    let mut list = "image_name,v,w,timestamp,steering,throttle\n".to_owned();
    for index in 0..120_u8 {
        let name = format!("{index:06}.png");
        picture(index).save(at("it").join(&name)).unwrap();
        let (drive, frame) = (index / 12, index % 12);
        let time = f64::from(drive) * 60.0 + f64::from(frame) / 20.0;
        list += &format!("{name},,,{time},0.{index:03},0.{drive}\n");
    }
    fs::write(at("it").join("data.csv"), list).unwrap();
    let before = contents(&at("it"));
    let arguments = ["split", "it", "train", "held/back", "--share", "0.3"];
    let (out, _) = printed(data(folder.path(), &arguments));
    assert_eq!(
        out,
        "train: 84 records\nheld/back: 36 records, 30.0 % of all, 3 of 10 drives\n"
    );
    assert_eq!(contents(&at("it")), before);
    let [train, validation] =
        ["train", "held/back"].map(|name| Recording::open(&at(name)).unwrap());
    let drives = |of: &Recording| {
        let mut drives: Vec<u8> = of
            .records()
            .iter()
            .map(|record| (record.throttle.unwrap() * 10.0).round() as u8)
            .collect();
        drives.dedup();
        drives
    };
    let mut all = [drives(&train), drives(&validation)].concat();
    all.sort_unstable();
    assert_eq!(
        all,
        (0..10).collect::<Vec<u8>>(),
        "no drive is on both sides"
    );
    for record in train.records().iter().chain(validation.records()) {
        let of = if train.records().contains(record) {
            &train
        } else {
            &validation
        };
        let index = (record.steering.unwrap() * 1000.0).round() as u8;
        let expected = picture(index);
        assert_eq!(of.decode(record).unwrap().rgb, expected.into_raw());
    }

    printed(data(
        folder.path(),
        &["split", "it", "tub", "rest", "--tub"],
    ));
    let tubs = ["tub", "rest"].map(|name| Recording::open(&at(name)).unwrap());
    assert!(tubs.iter().all(|tub| tub.format() == Format::TubV2));
    assert_eq!(tubs.map(|tub| tub.records().len()), [96, 24]);

    for (arguments, expected) in [
        (&["split", "it", "train", "new"][..], "train: is not empty"),
        (&["split", "it", "it/new", "new"], "it/new: lies in it"),
        (&["import", "it", "it/new"], "it/new: lies in it"),
        (
            &["split", "it", "new", "new/in"],
            "neither of them in the other",
        ),
        (
            &["split", "it", "new", "new"],
            "neither of them in the other",
        ),
        (
            &["split", "it", "a", "b", "--share", "0.9"],
            "must be 0.01 to 0.5",
        ),
        (&["split", "it", "a", "b", "--share", "0.01"], "too few"),
    ] {
        let error = refused(data(folder.path(), arguments));
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        5,
        "nothing else is left"
    );
    assert_eq!(contents(&at("it")), before);
}

#[test]
fn a_recording_becomes_a_log_for_foxglove_and_a_folder_again() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    recording(&at("it"));
    let arguments = ["import", "it", "it.mcap", "--domain", "physical"];
    let (out, _) = printed(data(folder.path(), &arguments));
    assert_eq!(out, "it.mcap: 40 records, MCAP\n");
    let (out, _) = printed(data(folder.path(), &["show", "it.mcap", "--json"]));
    let content: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(content["format"], "MCAP");
    assert_eq!(content["domain"], "physical");
    assert_eq!(content["black"], serde_json::json!(["000005"]));
    let (out, _) = printed(data(folder.path(), &["clean", "it.mcap"]));
    assert!(out.contains("it.mcap.left_out.csv lists them"), "{out}");
    printed(data(folder.path(), &["import", "it.mcap", "back"]));
    let [it, back] = ["it", "back"].map(|name| Recording::open(&at(name)).unwrap());
    assert_eq!(back.domain(), Some(pilotage_vehicle::Domain::Physical));
    // Without the black picture and the repeated one.
    assert_eq!(back.records().len(), 38);
    let (first, last) = (&back.records()[0], &back.records()[37]);
    let error = first.steering.unwrap() - it.records()[0].steering.unwrap();
    assert!(error.abs() < 1e-12, "{first:?}");
    assert_eq!((last.throttle, last.yaw_rate), (Some(0.25), Some(0.5)));
    assert_eq!(
        back.decode(last).unwrap(),
        it.decode(&it.records()[39]).unwrap()
    );

    for (arguments, expected) in [
        (
            &["import", "it", "it.mcap"][..],
            "it.mcap: exists; name a new file",
        ),
        (
            &["import", "it", "new.mcap", "--tub"],
            "leave --tub or .mcap out",
        ),
        (
            &["import", "it.mcap", "new", "--domain", "simulated"],
            "leave --domain out",
        ),
        (
            &["import", "it", "new", "--side-cameras", "0.2"],
            "no pictures of cameras at the sides",
        ),
        (
            &["import", "it", "new", "--side-cameras", "2"],
            "must be above 0 and at most 1",
        ),
        (
            &["show", "it/data.csv"],
            "it/data.csv: is a file of a recording; name its folder, it",
        ),
    ] {
        let error = refused(data(folder.path(), arguments));
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    let mut left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["back", "it", "it.mcap", "it.mcap.left_out.csv"]);
}

/// Logs that Python's MCAP libraries wrote (crates/dataset/tests/mcap/make.py).
#[test]
fn logs_of_ros_are_imported_with_the_options_that_they_need() {
    let folder = TempDir::new().unwrap();
    let log = |name: &str| {
        let logs = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/dataset/tests/mcap");
        logs.join(name).to_str().unwrap().to_owned()
    };
    let open = |name: &str| Recording::open(&folder.path().join(name)).unwrap();
    let (joy, ackermann) = (log("joy.mcap"), log("ackermann.mcap"));
    let axes = [
        "--steering-axis",
        "3",
        "--throttle-axis",
        "4",
        "--reverse-steering",
    ];
    let arguments = [&["import", &joy, "joy"], &axes[..]].concat();
    printed(data(folder.path(), &arguments));
    let last = open("joy").records()[11].clone();
    assert_eq!((last.steering, last.throttle), (Some(1.0), Some(0.25)));

    let error = refused(data(folder.path(), &["import", &ackermann, "new"]));
    assert!(error.contains("--car car.toml"), "{error}");
    fs::write(
        folder.path().join("car.toml"),
        "[mixer]\nwheelbase = 0.3\nsteering_range = 0.4\nspeed_to_throttle = [[0, 0], [4, 1]]\n",
    )
    .unwrap();
    let arguments = [
        "import",
        &ackermann,
        "drive",
        "--car",
        "car.toml",
        "--tolerance",
        "1",
    ];
    printed(data(folder.path(), &arguments));
    let drive = open("drive");
    assert_eq!(drive.records().len(), 12);
    // The command of 0.047 s, for the picture of 0.05 s: speed 1.2.
    let second = &drive.records()[1];
    let throttle = second.throttle.unwrap();
    assert!((throttle - 0.3).abs() < 1e-6, "{second:?}");
    assert!(second.steering.unwrap() > 0.0 && second.yaw_rate.unwrap() > 0.0);
}

#[test]
fn udacitys_cameras_at_the_sides_steer_to_the_middle() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    fs::create_dir(&log).unwrap();
    let mut rows = String::new();
    for index in 0..20_u8 {
        for (place, side) in ["center", "left", "right"].into_iter().enumerate() {
            let name = format!(
                "{side}_2026_01_01_12_00_00_{:03}.jpg",
                u16::from(index) * 50
            );
            picture(3 * index + place as u8)
                .save(log.join(&name))
                .unwrap();
            rows += &format!("{name}, ");
        }
        // To the right there.
        rows += "0.1, 0.5, 0, 9\n";
    }
    fs::write(log.join("driving_log.csv"), rows).unwrap();
    let arguments = ["import", "log", "three", "--side-cameras", "0.25"];
    let (out, _) = printed(data(folder.path(), &arguments));
    assert_eq!(out, "three: 60 records, data.csv\n");
    printed(data(folder.path(), &["import", "log", "one"]));
    let [log, one, three] =
        ["log", "one", "three"].map(|name| Recording::open(&folder.path().join(name)).unwrap());
    assert_eq!(one.records().len(), 20);
    for (centre, records) in log.records().iter().zip(three.records().chunks(3)) {
        let steering: Vec<f64> = records.iter().map(|it| it.steering.unwrap()).collect();
        // The left camera's picture is that of a car too far left: further to the right.
        let errors = steering.iter().zip([-0.1, -0.35, 0.15]);
        assert!(
            errors.into_iter().all(|(it, of)| (it - of).abs() < 1e-9),
            "{steering:?}"
        );
        assert!(records.iter().all(|it| it.time == centre.time));
        let sides = centre.sides.clone().unwrap();
        for (record, file) in records.iter().zip([&centre.picture, &sides[0], &sides[1]]) {
            let expected = fs::read(log.folder().join(file)).unwrap();
            assert_eq!(three.picture_file(record).unwrap(), expected);
        }
    }
}
