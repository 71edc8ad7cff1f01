//! What is damaged, missing or hostile.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use pilotage_dataset::{LEFT_OUT, Marks, PictureProblem, Recording, decode};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::*;

#[test]
fn errors_name_the_file_the_line_the_column_and_the_remedy() {
    let remedy = "; correct the row or delete it";
    for (text, expected) in [
        (
            "image_name,v\n000000.jpg,1\n000001.jpg,x\n000000.jpg,1\n",
            "line 3, column `v`: `x` is not a number",
        ),
        (
            "image_name,w\n\n000000.jpg,nan\n",
            "line 3, column `w`: `nan` is not a number",
        ),
        (
            "image_name,v\n000000.jpg,1e9\n",
            "line 2, column `v`: 1e9 is outside -1000 to 1000 m/s",
        ),
        (
            "image_name,steering\n000000.jpg,15\n",
            "line 2, column `steering`: 15 is outside -1 to 1",
        ),
        (
            "image_name,v\n,1\n",
            "line 2, column `image_name`: there is no image name",
        ),
        (
            "image_name,v\n000000.jpg\n",
            "line 2: 1 fields, but 2 columns",
        ),
        (
            "image_name,v\n000000.jpg,1,2\n",
            "line 2: 3 fields, but 2 columns",
        ),
        (
            "image_name,v\n\"000000.jpg,1\n000001.jpg,1\n",
            "line 2: a quote is not closed",
        ),
        (
            "image_name,v\r000000.jpg,1\r000001.jpg,x\r",
            "line 3, column `v`: `x` is not a number",
        ),
        (
            "image_name,v\n../plain/000000.jpg,1\n",
            "line 2, column `image_name`: `../plain/000000.jpg` leaves the recording's folder",
        ),
        (
            "image_name,v\na\\..\\..\\000000.jpg,1\n",
            "line 2, column `image_name`: `a\\..\\..\\000000.jpg` leaves the recording's folder",
        ),
        (
            "image_name,v\n/etc/000000.jpg,1\n",
            "line 2, column `image_name`: `/etc/000000.jpg` is an absolute path, but pictures must \
             lie in the recording's folder",
        ),
    ] {
        let folder = Folder::new();
        let error = folder.frames(2).list(text).error();
        assert_eq!(error, format!("FOLDER/data.csv, {expected}{remedy}"));
    }
    for (text, expected) in [
        (
            "name,v\n000000.jpg,1\n",
            "line 1: no column `image_name` among the titles `name,v`; the \
            first line names the columns, such as `image_name,v,w,timestamp`",
        ),
        (
            "",
            "line 1: no column `image_name` among the titles ``; the first line names the \
            columns, such as `image_name,v,w,timestamp`",
        ),
        (
            "image_name,v,v\n",
            "line 1: two columns are called `v`; rename or remove one",
        ),
    ] {
        let folder = Folder::new();
        let error = folder.frames(2).list(text).error();
        assert_eq!(error, format!("FOLDER/data.csv, {expected}"));
    }
    let folder = Folder::new();
    let text = plain_rows(2);
    let utf16 = text.encode_utf16().flat_map(u16::to_le_bytes);
    let error = folder.frames(2).list(utf16.collect::<Vec<u8>>()).error();
    assert!(
        error.contains("UTF-16 without a byte order mark; save the file as UTF-8"),
        "{error}"
    );
    let latin = folder.list(b"image_name,v\ncaf\xe9.jpg,1\n").error();
    assert_eq!(latin, format!("FOLDER/data.csv, line 2: not UTF-8{remedy}"));
    let long = folder
        .list(format!("image_name,v\n{},1\n", "x".repeat(100_000)))
        .error();
    assert_eq!(
        long,
        format!("FOLDER/data.csv, line 2: longer than 65536 bytes{remedy}")
    );
}

#[test]
fn only_a_last_row_without_its_line_end_may_be_cut_off() {
    let whole = plain_rows(FRAMES);
    for tail in [
        "000060.jpg",
        "000060.jpg,1.5,0.2",
        "000060.jpg,1.5,-",
        "\"0000",
        "\0\0\0\0",
    ] {
        let folder = Folder::new();
        let recording = folder.frames(FRAMES).list(whole.clone() + tail).open();
        check(&recording, FRAMES);
        let note = "FOLDER/data.csv, line 62: the last row is cut off and is passed over";
        assert_eq!(folder.notes(&recording), [note], "{tail}");
        let inner = format!("{whole}{tail}\n");
        folder.list(inner);
        assert!(folder.error().contains("line 62"), "{tail}");
    }
    // Megabytes of NULs, as a file system may leave them after a power cut.
    let folder = Folder::new();
    let mut bytes = whole.into_bytes();
    bytes.extend(vec![0; 1 << 20]);
    check(&folder.frames(FRAMES).list(bytes).open(), FRAMES);
}

#[test]
fn a_list_of_any_length_is_read_whole() {
    let folder = Folder::new();
    let mut text = "image_name,v\n".to_owned();
    for index in 0..300_000 {
        text += &format!("000000.jpg,{}\n", index % 7);
    }
    let recording = folder.frames(1).list(text).open();
    assert_eq!(recording.records().len(), 300_000);
    assert_eq!(recording.records()[299_999].line, 300_001);
}

#[test]
fn bad_pictures_are_counted_and_named_and_a_few_are_passed_over() {
    // Every third picture is cut off.
    let folder = Folder::new();
    folder.frames(FRAMES).list(plain_rows(FRAMES));
    for index in (0..FRAMES).step_by(3) {
        let bytes = jpeg(index);
        folder.write(&name(index), &bytes[..bytes.len() / 3]);
    }
    let error = folder.decode().unwrap_err();
    let start = "FOLDER: 20 of 60 pictures cannot be used, more than 5 %: 000000.jpg is cut off, \
                 000003.jpg is cut off, ";
    assert!(error.starts_with(start), "{error}");
    assert!(error.contains(", and 12 more; remove them, or "), "{error}");

    // 5 % are passed over.
    let folder = Folder::new();
    folder
        .frames(FRAMES)
        .list(plain_rows(FRAMES))
        .write(&name(41), "");
    folder.write(&name(47), "no picture");
    fs::remove_file(folder.path().join(name(53))).unwrap();
    let (used, notes) = folder.decode().unwrap();
    assert_eq!(used, 57);
    assert_eq!(
        notes,
        [
            "FOLDER: 3 of 60 pictures cannot be used and are passed over: 000041.jpg is empty \
          (0 bytes), 000047.jpg is neither PNG nor JPEG, 000053.jpg does not exist"
        ]
    );
    // One more is too many.
    folder.write(&name(0), "");
    assert!(folder.decode().unwrap_err().contains("4 of 60"));
}

#[test]
fn cut_off_pictures_are_found_wherever_the_cut_is() {
    let jpeg = jpeg(5);
    // The last two bytes are the end marker; before that a cut may only lose padding.
    for length in (1..jpeg.len() - 1).step_by(7) {
        assert!(
            decode(&jpeg[..length]).is_err(),
            "{length} of {}",
            jpeg.len()
        );
    }
    let mut padded = jpeg.clone();
    padded.extend([0; 64]);
    assert_eq!(decode(&padded).unwrap(), decode(&jpeg).unwrap());
    let mut lost = jpeg.clone();
    let middle = lost.len() / 2;
    lost[middle..].fill(0);
    assert!(matches!(decode(&lost), Err(PictureProblem::CutOff)));
    let png = png(&picture(5, 40, 30));
    for length in (1..png.len() - 12).step_by(13) {
        assert!(decode(&png[..length]).is_err(), "{length} of {}", png.len());
    }
    let mut flipped = png.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    assert!(matches!(decode(&flipped), Err(PictureProblem::Damaged(_))));
}

#[test]
fn pictures_of_several_sizes_are_reported() {
    let folder = Folder::new();
    folder.frames(FRAMES).list(plain_rows(FRAMES));
    for index in (1..FRAMES).step_by(2) {
        folder.write(&name(index), encode_jpeg(&picture(index, 32, 18)));
    }
    let (used, notes) = folder.decode().unwrap();
    assert_eq!(used, FRAMES);
    let note = "FOLDER: pictures of 2 sizes: 30 of 32x18, 30 of 40x30; are they all of one camera?";
    assert_eq!(notes, [note]);
}

#[test]
fn nothing_but_a_regular_file_in_the_folder_is_opened() {
    let secret = Folder::new();
    secret.write("secret.jpg", jpeg(1));
    let folder = Folder::new();
    folder.frames(3);
    let place = |name: &str| folder.path().join(name);
    symlink(secret.path().join("secret.jpg"), place("link.jpg")).unwrap();
    symlink(secret.path(), place("out")).unwrap();
    symlink("000001.jpg", place("inner.jpg")).unwrap();
    let fifo = |path: PathBuf| mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0);
    fifo(place("fifo.jpg")).unwrap();
    symlink("/dev/zero", place("device.jpg")).unwrap();
    fs::create_dir(place("folder.jpg")).unwrap();
    let names = ["link", "out/secret", "fifo", "device", "folder", "inner"];
    let list: String = names.iter().map(|name| format!("{name}.jpg\n")).collect();
    let recording = folder.list(format!("image_name\n{list}")).open();
    let problems: Vec<_> = recording
        .records()
        .iter()
        .map(|record| recording.decode(record))
        .collect();
    let messages = problems.iter().map(|problem| match problem {
        Ok(_) => String::new(),
        Err(problem) => problem.to_string(),
    });
    assert_eq!(
        messages.collect::<Vec<_>>(),
        [
            "is a link out of the folder",
            "is a link out of the folder",
            "is a FIFO, not a file",
            "is a device, not a file",
            "is a folder, not a file",
            ""
        ]
    );
    // The lists too.
    for list in ["data.csv", "manifest.json", "driving_log.csv"] {
        let folder = Folder::new();
        fifo(folder.frames(2).path().join(list)).unwrap();
        let error = folder.error();
        assert_eq!(
            error,
            format!("FOLDER/{list}: is a FIFO, not a file; remove it")
        );
    }
    let folder = Folder::new();
    secret.list(plain_rows(2));
    symlink(
        secret.path().join("data.csv"),
        folder.frames(2).path().join("data.csv"),
    )
    .unwrap();
    assert!(folder.error().contains("is a link out of the folder"));
}

#[test]
fn folders_without_a_recording_are_errors_that_say_what_to_do() {
    let folder = Folder::new();
    let error = folder.error();
    assert!(
        error.starts_with("FOLDER: no pictures (.png, .jpg, .jpeg) there"),
        "{error}"
    );
    // Neither hidden folders nor those without a recording are named.
    folder.write(".java/1.jpg", "").write("notes/it.txt", "");
    assert!(!folder.error().contains("such as"), "{}", folder.error());
    folder.write("tub/manifest.json", "[]");
    let error = folder.error();
    assert!(
        error.ends_with("name a folder in it, such as FOLDER/tub"),
        "{error}"
    );
    // The lists and pictures of a recording are not the recording.
    folder.write("tub/images/1.jpg", jpeg(1));
    for (named, of) in [
        ("tub/manifest.json", "tub"),
        ("tub/images/1.jpg", "tub/images"),
    ] {
        let error = Recording::open(&folder.path().join(named)).unwrap_err();
        let error = folder.shorten(&error.to_string());
        let expected = format!("is a file of a recording; name its folder, FOLDER/{of}");
        assert!(error.ends_with(&expected), "{error}");
    }
    let pictures = Recording::open(&folder.path().join("tub/images")).unwrap();
    let notes: Vec<String> = pictures.notes().iter().map(ToString::to_string).collect();
    assert!(
        matches!(&notes[..], [note] if note.contains("folder above") && note.ends_with("tub/manifest.json")),
        "{notes:?}"
    );
    folder.list("image_name\n").write("manifest.json", "[]");
    let both = "FOLDER: has both data.csv and manifest.json; move one of them to another folder";
    assert_eq!(folder.error(), both);
    let missing = Recording::open(&folder.path().join("missing")).unwrap_err();
    assert!(
        missing.to_string().contains("missing: No such file"),
        "{missing}"
    );
}

#[test]
fn marked_records_are_left_out_and_nothing_is_deleted() {
    let folder = Folder::new();
    folder.frames(FRAMES).list(plain_rows(FRAMES));
    let mark = |indexes: &[usize]| {
        let mut marks = Marks::open(folder.path()).unwrap();
        for &index in indexes {
            marks.add(Path::new(&name(index)), "black, \"dark\"");
        }
        let new = indexes
            .iter()
            .filter(|&&index| marks.is_new(Path::new(&name(index))));
        let new = new.count();
        marks.write().unwrap();
        new
    };
    assert_eq!(mark(&[3, 7]), 2);
    assert_eq!(mark(&[7, 9]), 1);
    let recording = folder.open();
    assert_eq!(recording.records().len(), FRAMES - 3);
    assert!(
        recording
            .records()
            .iter()
            .all(|record| record.picture != Path::new("000007.jpg"))
    );
    assert_eq!(
        folder.notes(&recording),
        [format!(
            "FOLDER/{LEFT_OUT}: 3 records are marked as deleted and are passed over"
        )]
    );
    assert!(folder.path().join(name(7)).exists());
    assert_eq!(
        fs::read_to_string(folder.path().join("data.csv")).unwrap(),
        plain_rows(FRAMES)
    );
    fs::remove_file(folder.path().join(LEFT_OUT)).unwrap();
    check(&folder.open(), FRAMES);
}

#[test]
fn a_name_is_marked_once_and_only_if_its_row_can_be_read() {
    let folder = Folder::new();
    folder.frames(FRAMES).list(plain_rows(FRAMES));
    let names = [name(3), name(3), "a\nb.jpg".into(), " c.jpg".into()];
    let mut marks = Marks::open(folder.path()).unwrap();
    for name in &names {
        marks.add(Path::new(name), "one\ntwo");
    }
    let is_new = names.map(|name| marks.is_new(Path::new(&name)));
    assert_eq!(is_new, [true, true, false, false]);
    // Nothing is written before the end.
    assert!(!folder.path().join(LEFT_OUT).exists());
    marks.write().unwrap();
    assert_eq!(
        fs::read_to_string(folder.path().join(LEFT_OUT)).unwrap(),
        format!("image_name,reason\n{},one two\n", name(3))
    );
    assert_eq!(folder.open().records().len(), FRAMES - 1);
}
