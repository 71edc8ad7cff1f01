//! Tensors whose data is in files beside the model.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::onnx::StringStringEntryProto;
use crate::{DataFileError, DataFiles, TensorData, data_locations};

const LIMIT: usize = 1 << 20;

/// A tensor of floats whose data is at `location`.
fn outside(name: &str, dims: &[i64], location: &str, more: &[(&str, &str)]) -> TensorProto {
    let entry = |(key, value): (&str, &str)| StringStringEntryProto {
        key: key.into(),
        value: value.into(),
    };
    let location = [("location", location)];
    TensorProto {
        data_location: 1,
        external_data: location.iter().chain(more).copied().map(entry).collect(),
        ..floats(name, dims, &[])
    }
}

fn read_in(folder: &Path, tensor: TensorProto) -> Result<Graph, GraphError> {
    let model = onnx(17).initializer(tensor).outputs(&["w"]).bytes();
    let mut files = DataFiles::new(folder, LIMIT);
    Graph::read_with_data(&model, &ReadOptions::default(), &mut files)
}

/// The reason why a tensor of two floats at `location` is refused.
fn refused(folder: &Path, location: &str, more: &[(&str, &str)]) -> DataFileError {
    match read_in(folder, outside("w", &[2], location, more)) {
        Err(GraphError::DataFile { name, reason }) if name == "w" => reason,
        other => panic!("{other:?}"),
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
fn data_is_read_from_the_folder_at_its_offset() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("weights")).unwrap();
    let file = folder.path().join("weights/w.data");
    fs::write(&file, bytes(&[1.0, 2.0, 3.0, 4.0])).unwrap();
    for (more, expected) in [
        (&[][..], [1.0, 2.0]),
        (&[("offset", "4")], [2.0, 3.0]),
        (&[("offset", "8"), ("length", "8")], [3.0, 4.0]),
        (&[("checksum", "ignored"), ("length", "8")], [1.0, 2.0]),
    ] {
        let tensor = outside("w", &[2], "weights/w.data", more);
        let graph = read_in(folder.path(), tensor).unwrap();
        let w = graph.value(graph.outputs[0]).constant.as_ref().unwrap();
        assert_eq!(w.data(), &TensorData::F32(expected.to_vec()), "{more:?}");
    }
    // A link within the folder is followed.
    symlink("weights/w.data", folder.path().join("link")).unwrap();
    assert!(read_in(folder.path(), outside("w", &[2], "./link", &[])).is_ok());
}

#[test]
fn the_files_that_were_read_are_known() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a"), bytes(&[1.0; 4])).unwrap();
    let model = onnx(17)
        .initializer(outside("w", &[2], "a", &[]))
        .initializer(outside("v", &[2], "a", &[("offset", "8")]))
        .initializer(outside("not needed", &[2], "gone", &[]))
        .outputs(&["w", "v"])
        .bytes();
    let options = ReadOptions::default();
    let mut files = DataFiles::new(folder.path(), 16);
    Graph::read_with_data(&model, &options, &mut files).unwrap();
    let read: Vec<_> = files.files().collect();
    assert_eq!(read, [("a", &bytes(&[1.0; 4])[..])]);
    assert_eq!(data_locations(&model, &options).unwrap(), ["a", "gone"]);
    // Without a folder, the same model is refused.
    let error = Graph::read(&model, &options).unwrap_err();
    assert_eq!(error, GraphError::ExternalData { name: "w".into() });
}

#[test]
fn nothing_outside_of_the_folder_is_read() {
    let place = TempDir::new().unwrap();
    let secret = place.path().join("secret");
    fs::write(&secret, bytes(&[1.0, 2.0])).unwrap();
    let folder = place.path().join("model");
    fs::create_dir(&folder).unwrap();
    let absolute = secret.to_str().unwrap();
    for location in [
        "../secret",
        absolute,
        "",
        "..",
        "x/../../secret",
        "a/../../secret",
    ] {
        let error = refused(&folder, location, &[]);
        let location = location.to_owned();
        assert_eq!(error, DataFileError::Path { location });
    }
    symlink("../secret", folder.join("link")).unwrap();
    symlink("..", folder.join("up")).unwrap();
    for location in ["link", "up/secret"] {
        let error = refused(&folder, location, &[]);
        let location = location.to_owned();
        assert_eq!(error, DataFileError::Outside { location });
    }
}

#[test]
fn only_regular_files_are_read_and_none_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::create_dir(file("folder")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        file("fifo"),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(file("socket")).unwrap();
    for (location, kind) in [
        ("folder", "a folder"),
        ("fifo", "a FIFO"),
        ("socket", "a socket"),
    ] {
        let error = refused(folder.path(), location, &[]);
        let location = location.to_owned();
        assert_eq!(error, DataFileError::NotRegular { location, kind });
    }
    let error = refused(Path::new("/dev"), "zero", &[]);
    assert!(matches!(
        error,
        DataFileError::NotRegular {
            kind: "a device",
            ..
        }
    ));
    let error = refused(folder.path(), "gone", &[]);
    assert!(
        matches!(&error, DataFileError::Unreadable { .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("copy that file beside the model")
    );
}

#[test]
fn sizes_are_checked() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("w"), bytes(&[1.0, 2.0])).unwrap();
    let short = |offset: u64| DataFileError::Short {
        location: "w".to_owned(),
        offset,
        found: 8,
    };
    for offset in [1, 8, u64::MAX] {
        let text = offset.to_string();
        assert_eq!(
            refused(folder.path(), "w", &[("offset", &text)]),
            short(offset)
        );
    }
    for length in [0, 4, 12, u64::MAX] {
        let error = refused(folder.path(), "w", &[("length", &length.to_string())]);
        let (expected, found) = (8, length);
        assert_eq!(error, DataFileError::Length { expected, found });
    }
    for value in ["-1", "four", "1.5", "99999999999999999999"] {
        let error = refused(folder.path(), "w", &[("offset", value)]);
        assert!(matches!(
            error,
            DataFileError::NotANumber { key: "offset", .. }
        ));
    }
    let no_location = TensorProto {
        data_location: 1,
        ..floats("w", &[2], &[])
    };
    let error = read_in(folder.path(), no_location).unwrap_err();
    let reason = DataFileError::NoLocation;
    let name = "w".to_owned();
    assert_eq!(error, GraphError::DataFile { name, reason });

    // A sparse file, which takes no space on the disk.
    let large = fs::File::create(folder.path().join("large")).unwrap();
    large.set_len(1 << 40).unwrap();
    let error = refused(folder.path(), "large", &[]);
    let (location, limit) = ("large".to_owned(), LIMIT as u64);
    assert_eq!(error, DataFileError::TooLarge { location, limit });
    // The limit is of all files together.
    let model = onnx(17)
        .initializer(outside("w", &[2], "w", &[]))
        .initializer(outside("v", &[2], "./w", &[]))
        .outputs(&["w", "v"])
        .bytes();
    let mut files = DataFiles::new(folder.path(), 15);
    let error = Graph::read_with_data(&model, &ReadOptions::default(), &mut files).unwrap_err();
    assert!(
        error.to_string().contains("the 15 bytes allowed"),
        "{error}"
    );

    // Shapes larger than memory.
    for dims in [&[i64::MAX, i64::MAX][..], &[1 << 60], &[-1]] {
        let error = read_in(folder.path(), outside("w", dims, "w", &[])).unwrap_err();
        let of_size = matches!(
            error,
            GraphError::TooLarge { .. } | GraphError::WrongTensorSize { .. }
        );
        assert!(of_size, "{error}");
    }
}
