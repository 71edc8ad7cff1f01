//! Donkeycar's tubs that are damaged or hostile.

use std::fs;

use crate::support::*;

const MANIFEST: &str = "[\"cam/image_array\", \"user/angle\", \"user/throttle\", \"user/mode\"]\n\
    [\"image_array\", \"float\", \"float\", \"str\"]\n{}\n{\"created_at\": 1.0, \"sessions\": {}}\n";

fn tub(count: usize) -> Folder {
    let folder = Folder::new();
    let mut catalog = String::new();
    for index in 0..count {
        folder.write(&format!("images/{index}_cam_image_array_.jpg"), jpeg(index));
        catalog += &format!(
            "{{\"_index\": {index}, \"_timestamp_ms\": {}, \"cam/image_array\": \
             \"{index}_cam_image_array_.jpg\", \"user/angle\": 0.5, \"user/mode\": \"user\", \
             \"user/throttle\": 0.25}}\n",
            50 * index
        );
    }
    folder.write("catalog_0.catalog", catalog);
    let last = "{\"paths\": [\"catalog_0.catalog\"], \"current_index\": 40, \"max_len\": 1000, \
                \"deleted_indexes\": [3, 4, 5]}\n";
    folder.write("manifest.json", MANIFEST.to_owned() + last);
    folder
}

#[test]
fn damaged_tubs_are_read_as_far_as_they_are_whole() {
    let folder = tub(40);
    assert_eq!(folder.open().records().len(), 37);
    let catalog = fs::read_to_string(folder.path().join("catalog_0.catalog")).unwrap();

    // A power cut in the last record.
    folder.write("catalog_0.catalog", &catalog[..catalog.len() - 20]);
    let recording = folder.open();
    assert_eq!(recording.records().len(), 36);
    assert!(folder.notes(&recording)[0].contains("line 40: the last row is cut off"));

    // A record that was cut off, with the next one after it in the same line; and one without a
    // picture, one of the pilot.
    let bad = catalog
        .replacen("\"_index\": 9, ", "\"_index\": {", 1)
        .replacen(
            "\"cam/image_array\": \"11_cam",
            "\"cam/image\": \"11_cam",
            1,
        )
        .replacen("\"user/mode\": \"user\"", "\"user/mode\": \"local\"", 1);
    folder.write("catalog_0.catalog", &bad);
    let recording = folder.open();
    assert_eq!(recording.records().len(), 35);
    let notes = folder.notes(&recording).join("\n");
    for expected in [
        "FOLDER: 1 records cannot be read and are passed over; the first is \
         FOLDER/catalog_0.catalog, line 10: not a JSON object",
        "FOLDER: 1 records have no picture",
        "FOLDER: in 1 records the car's pilot drove",
    ] {
        assert!(notes.contains(expected), "{notes}");
    }
    // More than a few.
    folder.write(
        "catalog_0.catalog",
        catalog.replace("\"user/angle\": 0.5", "\"user/angle\": 7"),
    );
    let error = folder.error();
    assert!(
        error.starts_with(
            "FOLDER: 37 of 37 records cannot be read, more than 5 %; the first is \
            FOLDER/catalog_0.catalog, line 1, key `user/angle`: 7 is outside -1 to 1"
        ),
        "{error}"
    );

    // The manifest's last line is missing: the catalogs are still there.
    folder
        .write("catalog_0.catalog", &catalog)
        .write("manifest.json", MANIFEST);
    let recording = folder.open();
    assert_eq!(recording.records().len(), 40);
    assert!(folder.notes(&recording)[0].contains("the list of catalogs"));
}

#[test]
fn a_manifest_names_no_file_out_of_the_tub() {
    let folder = tub(4);
    for (last, expected) in [
        (
            "{\"paths\": [\"../x.catalog\"]}",
            "line 5: a catalog's path is not the name",
        ),
        (
            "{\"paths\": [\"/etc/passwd\"]}",
            "line 5: a catalog's path is not the name",
        ),
        (
            "{\"paths\": [7]}",
            "line 5: a catalog's path is not the name",
        ),
        ("[]", "line 5: `paths`, the list of catalogs, is missing"),
        ("{", "line 5: EOF"),
    ] {
        folder.write("manifest.json", format!("{MANIFEST}{last}\n"));
        let error = folder.error();
        assert!(
            error.starts_with("FOLDER/manifest.json, ") && error.contains(expected),
            "{error}"
        );
    }
    folder.write("manifest.json", "{\"a\": 1}");
    assert!(folder.error().contains("this is no tub's manifest"));
    // A picture's name with folders is taken as a name.
    let folder = tub(4);
    let catalog = fs::read_to_string(folder.path().join("catalog_0.catalog")).unwrap();
    let moved = catalog.replace("\"0_cam", "\"/home/pi/mycar/data/0_cam");
    folder.write("catalog_0.catalog", moved);
    assert_eq!(folder.decode().unwrap().0, 3);
    folder.write(
        "catalog_0.catalog",
        catalog.replace("\"0_cam", "\"../../0_cam"),
    );
    assert!(folder.error().contains("leaves the recording's folder"));
}
