//! Each format, with what it means.

use std::path::{Path, PathBuf};

use pilotage_dataset::{Format, Recording};

use crate::support::*;

#[test]
fn data_csv_is_read_in_every_form_that_programs_write() {
    let utf16 = |order: fn(u16) -> [u8; 2]| {
        let text = format!("\u{feff}{}", plain_rows(FRAMES));
        text.encode_utf16().flat_map(order).collect::<Vec<u8>>()
    };
    let plain = plain_rows(FRAMES);
    let quoted = rows(FRAMES, ",", "\n", |name| format!("\"{name}\""));
    for (form, text) in [
        ("plain", plain.clone().into_bytes()),
        ("no end of the last line", plain.trim_end().into()),
        ("BOM", format!("\u{feff}{plain}").into_bytes()),
        ("CR LF", plain.replace('\n', "\r\n").into_bytes()),
        ("CR", plain.replace('\n', "\r").into_bytes()),
        ("empty lines", plain.replace('\n', "\n\n  \n").into_bytes()),
        ("quotes", quoted.into_bytes()),
        ("semicolons", plain.replace(',', ";").into_bytes()),
        ("tabs", plain.replace(',', "\t").into_bytes()),
        ("spaces", plain.replace(',', " , ").into_bytes()),
        (
            "decimal commas",
            plain.replace(',', ";").replace(".0", ",0").into_bytes(),
        ),
        (
            "upper case",
            plain
                .replacen("image_name,v", "Image_Name,V", 1)
                .into_bytes(),
        ),
        ("UTF-16, little endian", utf16(u16::to_le_bytes)),
        ("UTF-16, big endian", utf16(u16::to_be_bytes)),
    ] {
        let folder = Folder::new();
        let recording = folder.frames(FRAMES).list(text).open();
        assert_eq!(recording.format(), Format::DataCsv, "{form}");
        check(&recording, FRAMES);
        assert_eq!(folder.notes(&recording), [""; 0], "{form}");
        assert_eq!(folder.decode(), Ok((FRAMES, Vec::new())), "{form}");
    }
}

#[test]
fn columns_are_found_by_their_titles() {
    let folder = Folder::new();
    let text = "throttle,note,timestamp,image_name,pilot/angle,steering,brake,w,v\n\
                0.5,\"a, b\",2.5,000001.jpg,0.25,-0.75,1,-2,3\n\
                ,,,000000.jpg,none,,,,\n";
    let recording = folder.frames(2).list(text).open();
    let [first, second] = recording.records() else {
        panic!("{:?}", recording.records());
    };
    assert_eq!(first.picture, Path::new("000001.jpg"));
    assert_eq!((first.steering, first.throttle), (Some(-0.75), Some(0.5)));
    assert_eq!((first.speed, first.yaw_rate), (Some(3.0), Some(-2.0)));
    assert_eq!((first.time, first.line), (Some(2.5), 2));
    assert_eq!(first.extra, [("pilot/angle".into(), 0.25)]);
    // Empty fields are absent values.
    assert_eq!(
        (second.steering, second.speed, second.time),
        (None, None, None)
    );
    assert!(second.extra.is_empty());
}

#[test]
fn pictures_of_another_folder_are_found_by_the_last_parts_of_their_paths() {
    let folder = Folder::new();
    let text = rows(FRAMES, ",", "\n", |name| format!("images\\{name}"));
    let recording = folder.frames(FRAMES).list(text).open();
    check(&recording, FRAMES);
    let notes = folder.notes(&recording);
    assert!(
        notes[0].contains("60 pictures do not lie where"),
        "{notes:?}"
    );
    // A path that is right goes first.
    folder.write("images/000001.jpg", jpeg(1));
    let recording = folder.open();
    let pictures = recording.records().iter().map(|record| &*record.picture);
    let pictures: Vec<&Path> = pictures.take(3).collect();
    assert_eq!(
        pictures,
        ["000000.jpg", "images/000001.jpg", "000002.jpg"].map(Path::new)
    );
}

#[test]
fn a_tub_that_donkeycar_wrote_is_read() {
    // Written by donkeycar 5.3.0 (tests/tub.py): ten records in catalogs of four, steering 0, -0.1, ...,
    // of which those with the indexes 2 and 7 were deleted.
    let tub = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tub");
    let recording = Recording::open(&tub).unwrap();
    assert_eq!(recording.format(), Format::TubV2);
    let indexes = [0, 1, 3, 4, 5, 6, 8, 9];
    assert_eq!(recording.records().len(), indexes.len());
    for (record, index) in recording.records().iter().zip(indexes) {
        let picture = format!("images/{index}_cam_image_array_.jpg");
        assert_eq!(record.picture, PathBuf::from(picture));
        // Positive to the right there, positive to the left here.
        let steering = record.steering.unwrap();
        assert!(
            (steering - 0.1 * f64::from(index)).abs() < 1e-9,
            "{record:?}"
        );
        assert!(steering.is_sign_positive(), "{record:?}");
        assert_eq!((record.throttle, record.speed), (Some(0.25), None));
        let [(name, angle)] = &record.extra[..] else {
            panic!("{record:?}");
        };
        assert_eq!(&**name, "pilot/angle");
        assert!((angle - 0.05 * f64::from(index)).abs() < 1e-9);
        let picture = recording.decode(record).unwrap();
        assert_eq!((picture.width, picture.height), (160, 120));
        // The grey is 20 times the index; JPEG is not exact.
        let grey = i32::from(picture.rgb[2]);
        assert!((grey - 20 * index).abs() < 4, "{grey} of {index}");
    }
    let time = |index: usize| recording.records()[index].time.unwrap();
    assert!((time(0) - 1_767_225_601.0).abs() < 1e-6, "{}", time(0));
    assert!(time(7) > time(0));
    let notes: Vec<_> = recording.notes().iter().map(ToString::to_string).collect();
    assert!(
        notes[0].contains("2 records are marked as deleted"),
        "{notes:?}"
    );
}

#[test]
fn a_tub_of_version_1_is_read() {
    let folder = Folder::new();
    for index in [9, 10, 2, 100] {
        let picture = format!("{index}_cam-image_array_.jpg");
        let record = format!(
            "{{\"cam/image_array\": \"{picture}\", \"user/angle\": {}, \"user/throttle\": 0.5, \
             \"user/mode\": \"user\", \"milliseconds\": {}}}",
            f64::from(index) / -100.0,
            50 * index
        );
        folder.write(&picture, jpeg(index as usize));
        folder.write(&format!("record_{index}.json"), record);
    }
    folder.write("meta.json", "{\"inputs\": [], \"types\": []}");
    folder.write("exclude.json", "[9]");
    let recording = folder.open();
    assert_eq!(recording.format(), Format::TubV1);
    let found = recording.records().iter();
    let found: Vec<_> = found
        .map(|record| (record.steering.unwrap(), record.time.unwrap()))
        .collect();
    assert_eq!(found, [(0.02, 0.1), (0.1, 0.5), (1.0, 5.0)]);
    assert_eq!(folder.decode().unwrap().0, 3);
}

#[test]
fn a_log_of_udacitys_simulator_is_read() {
    let row = |index: usize| {
        let path =
            |side| format!(r"C:\Users\me\Desktop\IMG\{side}_2026_01_01_12_00_00_{index:03}.jpg");
        let paths = ["center", "left", "right"].map(path).join(", ");
        format!("{paths}, {}, 0.5, 0, 9.25\n", index as f64 / 100.0 - 0.05)
    };
    for titles in ["", "center,left,right,steering,throttle,brake,speed\n"] {
        let folder = Folder::new();
        for index in 0..20 {
            for side in ["center", "left", "right"] {
                let name = format!("IMG/{side}_2026_01_01_12_00_00_{index:03}.jpg");
                folder.write(&name, jpeg(index));
            }
        }
        let log: String = (0..20).map(row).collect();
        let recording = folder
            .write("driving_log.csv", titles.to_owned() + &log)
            .open();
        assert_eq!(recording.format(), Format::Udacity);
        assert_eq!(recording.records().len(), 20);
        let record = &recording.records()[7];
        let centre = "IMG/center_2026_01_01_12_00_00_007.jpg";
        assert_eq!(record.picture, Path::new(centre));
        let [left, right] = &**record.sides.as_ref().unwrap();
        assert_eq!(*left, Path::new(&centre.replace("center", "left")));
        assert_eq!(*right, Path::new(&centre.replace("center", "right")));
        // 0.02 to the right.
        let steering = record.steering.unwrap();
        assert!((steering + 0.02).abs() < 1e-12, "{steering}");
        assert_eq!(record.throttle, Some(0.5));
        let passed = record.time.unwrap() - recording.records()[0].time.unwrap();
        assert!((passed - 0.007).abs() < 1e-6, "{passed}");
        assert_eq!(folder.decode(), Ok((20, Vec::new())));
    }
}

#[test]
fn pictures_without_a_list_are_in_natural_order_without_hidden_files() {
    let folder = Folder::new();
    for index in 0..21 {
        folder.write(&format!("{index}_cam_image_array_.jpg"), jpeg(index));
    }
    folder.write("._0_cam_image_array_.jpg", b"\0\x05\x16\x07");
    folder.write(".hidden.png", "no picture");
    folder.write("notes.txt", "no picture");
    folder.write("21.PNG", png(&picture(21, 40, 30)));
    let recording = folder.open();
    assert_eq!(recording.format(), Format::Pictures);
    let mut expected: Vec<_> = (0..21)
        .map(|i| format!("{i}_cam_image_array_.jpg"))
        .collect();
    expected.push("21.PNG".to_owned());
    let found = recording.records().iter();
    let found: Vec<_> = found
        .map(|record| record.picture.display().to_string())
        .collect();
    assert_eq!(found, expected);
    assert_eq!(folder.decode(), Ok((22, Vec::new())));
}

#[test]
fn the_orientation_of_exif_data_is_applied() {
    let upright = picture(3, 40, 24);
    for (orientation, expected) in [
        (1, upright.clone()),
        (2, image::imageops::flip_horizontal(&upright)),
        (3, image::imageops::rotate180(&upright)),
        (6, image::imageops::rotate90(&upright)),
        (8, image::imageops::rotate270(&upright)),
    ] {
        let bytes = with_orientation(&encode_jpeg(&upright), orientation);
        let found = pilotage_dataset::decode(&bytes).unwrap();
        assert_eq!((found.width, found.height), expected.dimensions());
        assert_eq!(found.turned, orientation != 1);
        // JPEG is not exact, but far closer than a wrong orientation.
        let errors = found.rgb.iter().zip(expected.as_raw());
        let error: u32 = errors.map(|(&a, &b)| u32::from(a.abs_diff(b))).sum();
        assert!(
            error / (found.rgb.len() as u32) < 12,
            "{orientation}: {error}"
        );
    }
}
