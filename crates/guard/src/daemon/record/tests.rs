use std::os::unix::fs::symlink;

use super::*;
use crate::daemon::places::{create_directory, default_socket, directory_of};

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
    assert_ne!(
        default_socket(&file),
        default_socket(&root.join("other.toml"))
    );
}

/// Of no user of this computer.
const ANOTHER: u32 = 40_001;

#[test]
fn each_user_has_a_directory_of_its_own() {
    for (user, service, session, path, mode) in [
        (0, None, true, "/run/pilotage-0", 0o755),
        (0, Some(0), false, "/run/pilotage-0", 0o755),
        (1000, Some(1000), true, SERVICE, 0o750),
        (1000, Some(997), true, "/run/user/1000/pilotage", 0o700),
        (1000, None, true, "/run/user/1000/pilotage", 0o700),
        (1000, None, false, "/tmp/pilotage-1000", 0o700),
    ] {
        let expected = (PathBuf::from(path), mode);
        assert_eq!(directory_of(user, service, session), expected);
    }
}

#[test]
fn records_of_the_own_user_of_root_and_of_the_service_are_trusted() {
    for (owner, user, service, trusted) in [
        (1000, 1000, None, true),
        (0, 1000, None, true),
        (997, 1000, Some(997), true),
        (997, 0, Some(997), true),
        (1001, 1000, None, false),
        (1001, 1000, Some(997), false),
        (1001, 0, Some(997), false),
    ] {
        let found = is_trusted(owner, user, service);
        assert_eq!(found, trusted, "{owner} for {user}, {service:?}");
    }
}

#[test]
fn a_directory_is_created_for_its_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let user = geteuid().as_raw();
    let path = folder.path().join("pilotage");
    // A second time it is there.
    for _ in 0..2 {
        assert_eq!(create_directory(path.clone(), 0o700, user).unwrap(), path);
    }
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);

    let error = create_directory(path.clone(), 0o700, ANOTHER).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "of another");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o720)).unwrap();
    let error = create_directory(path, 0o700, user).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "writable");
    let error = create_directory(folder.path().join("none/pilotage"), 0o700, user).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn root_finds_the_directories_of_all_users() {
    let root = tempfile::tempdir().unwrap();
    let own = geteuid().as_raw();
    let make = |path: String, mode: u32| {
        let path = root.path().join(path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let session = make(format!("run/user/{own}/pilotage"), 0o700);
    let temporary = make(format!("tmp/pilotage-{own}"), 0o700);
    // Of another user than its name says, of no user, and one that others may write to.
    make(format!("tmp/pilotage-{ANOTHER}"), 0o700);
    make("tmp/pilotage-x".to_owned(), 0o700);
    make(format!("tmp/other-{own}"), 0o700);
    assert_eq!(
        directories_of_users(root.path()),
        [session, temporary.clone()]
    );
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(directories_of_users(root.path()).len(), 1);
}

#[test]
fn a_record_holds_the_longest_car_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), 0o640);
    let mut long = record(&path);
    long.text = "# comment\n".repeat((1 << 20) / 10);
    fs::write(&path, long.to_text()).unwrap();
    assert_eq!(Record::read(&path), Some(long));
}

#[test]
fn the_text_of_an_untrusted_user_is_not_taken() {
    if !geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI runs as root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), 0o640);
    for path in [folder.path(), &path] {
        std::os::unix::fs::chown(path, Some(ANOTHER), None).unwrap();
    }
    let found = Record::read(&path).unwrap();
    assert!(!found.trusted);
    assert_eq!(found.owner, ANOTHER);
    assert_eq!(found.text, "");
    assert_eq!(found.socket, Path::new("/run/x/guard.sock"));
    assert!(found.car().is_err());
}
