use std::os::unix::fs::symlink;

use super::*;

fn record(path: &Path) -> Record {
    Record {
        path: path.to_owned(),
        owner: geteuid().as_raw(),
        trusted: true,
        process: ProcessId::own().unwrap(),
        socket: "/run/x/guard.sock".into(),
        file: "/etc/car.toml".into(),
        name: "a = car".to_owned(),
        text: "[guard]\n\n[actuator]\nkind = \"dry-run\"\n".to_owned(),
    }
}

fn written(folder: &Path, mode: u32) -> PathBuf {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.join("0.guard");
    let _ = fs::remove_file(&path);
    fs::write(&path, record(&path).to_text()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_record_survives_a_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), 0o640);
    assert_eq!(Record::read(&path), Some(record(&path)));
}

#[test]
fn a_record_that_others_may_write_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o660, 0o602, 0o666] {
        assert_eq!(
            Record::read(&written(folder.path(), mode)),
            None,
            "{mode:o}"
        );
    }
    let path = written(folder.path(), 0o640);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(
        Record::read(&path),
        None,
        "in a folder that all may write to"
    );
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let link = folder.path().join("1.guard");
    symlink(&path, &link).unwrap();
    assert_eq!(Record::read(&link), None, "behind a link");
    if geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert_eq!(
            Record::read(&path),
            None,
            "of another owner than its folder"
        );
    }
}

#[test]
fn other_texts_are_not_parsed() {
    let path = Path::new("x.guard");
    let good = record(path).to_text();
    assert!(Record::parse(path, 0, &good).is_some());
    for text in [
        "",
        "pilotage-guard 1",
        "pilotage-guard 2\nprocess = 1 2 -\n\n",
        &good.replace("process = ", "process = x"),
        &good.replace("socket = ", "sock = "),
        &good.replace("\n\n[guard]", "\n[guard]"),
    ] {
        let read = Record::parse(path, 0, text);
        assert!(
            read.is_none_or(|read| read.text != record(path).text),
            "{text}"
        );
    }
}

#[test]
fn only_this_user_may_write_to_the_own_directory() {
    let folder = own_directory().unwrap();
    let metadata = fs::symlink_metadata(&folder).unwrap();
    assert!(metadata.is_dir());
    assert_eq!(metadata.uid(), geteuid().as_raw());
    assert_eq!(metadata.mode() & 0o022, 0);
}

#[test]
fn equivalent_paths_have_one_canonical_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    let file = root.join("car.toml");
    fs::write(&file, "").unwrap();
    symlink(&file, root.join("link.toml")).unwrap();
    assert_eq!(canonical(&root.join("link.toml")), file);
    assert_eq!(
        canonical(
            &root
                .join("./../")
                .join(root.file_name().unwrap())
                .join("car.toml")
        ),
        file
    );
    fs::remove_file(&file).unwrap();
    assert_eq!(
        canonical(&root.join("./car.toml")),
        file,
        "a removed file keeps its name"
    );
    assert_ne!(usual_socket(&file), usual_socket(&root.join("other.toml")));
}
