//! Tests of the plan cache: it loads exactly the plans that were stored, and no damaged or
//! untrusted ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pilotage_gpu::{CacheError, PlanCache, PlanKey};
use proptest::prelude::*;
use tensorrt_rs::{Product, Version};

fn key() -> PlanKey {
    PlanKey {
        model: PlanKey::of_model(b"an ONNX file"),
        precision: "int8".into(),
        tensorrt: Version {
            product: Product::TensorRt,
            number: 100_300,
        },
        validation: [7; 32],
        cuda: 12_060,
        compute_capability: 87,
        device: "Orin".into(),
        multiprocessors: 8,
        l2_cache: 2 << 20,
    }
}

#[test]
fn a_plan_is_loaded_for_its_own_key_only() {
    let folder = tempfile::tempdir().unwrap();
    // The folder is created when the first plan is stored.
    let cache = PlanCache::new(folder.path().join("plans"));
    let none = cache.load(&key()).unwrap_err();
    assert!(matches!(none, CacheError::None { .. }), "{none}");
    assert!(
        none.to_string()
            .contains("pilotage compile --for-this-machine"),
        "{none}"
    );
    cache.keep(&key(), b"\n\nthe plan").unwrap();
    assert_eq!(cache.load(&key()).unwrap().to_vec(), b"\n\nthe plan");

    let version = |number| Version {
        product: Product::TensorRt,
        number,
    };
    for (other, what) in [
        (
            PlanKey {
                tensorrt: version(100_301),
                ..key()
            },
            "another tensorrt (TensorRT 10.3.0, here TensorRT 10.3.1)",
        ),
        (
            PlanKey {
                cuda: 12_020,
                ..key()
            },
            "another cuda (12060, here 12020)",
        ),
        (
            PlanKey {
                validation: [8; 32],
                ..key()
            },
            "another proof (0707",
        ),
        (
            PlanKey {
                compute_capability: 72,
                ..key()
            },
            "another compute capability (87, here 72)",
        ),
        (
            PlanKey {
                device: "Xavier".into(),
                ..key()
            },
            "another device (Orin, here Xavier)",
        ),
        (
            PlanKey {
                multiprocessors: 4,
                ..key()
            },
            "another number of multiprocessors (8, here 4)",
        ),
        (
            PlanKey {
                l2_cache: 4 << 20,
                ..key()
            },
            "another L2 cache (2097152, here 4194304)",
        ),
    ] {
        let error = cache.load(&other).unwrap_err();
        assert!(matches!(error, CacheError::OtherKey { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
        // There is one plan per model and precision: the new one replaces the old one.
        cache.keep(&other, b"new").unwrap();
        assert_eq!(cache.load(&other).unwrap().to_vec(), b"new");
        assert!(cache.load(&key()).is_err());
        cache.keep(&key(), b"\n\nthe plan").unwrap();
    }
    // A plan of another model or precision is another file, and both are kept.
    for other in [
        PlanKey {
            precision: "fp16".into(),
            ..key()
        },
        PlanKey {
            model: PlanKey::of_model(b"another"),
            ..key()
        },
    ] {
        assert!(matches!(cache.load(&other), Err(CacheError::None { .. })));
        cache.keep(&other, b"beside").unwrap();
    }
    assert_eq!(cache.load(&key()).unwrap().to_vec(), b"\n\nthe plan");
    assert_eq!(
        fs::read_dir(folder.path().join("plans")).unwrap().count(),
        3
    );
}

#[test]
fn a_device_name_cannot_forge_lines_of_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let cache = PlanCache::new(folder.path());
    let forged = PlanKey {
        device: "Orin\n\nplan".into(),
        ..key()
    };
    cache.keep(&forged, b"content").unwrap();
    assert_eq!(cache.load(&forged).unwrap().to_vec(), b"content");
    assert!(cache.load(&key()).is_err());
}

#[test]
fn an_unwritable_folder_is_an_error_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("not a folder");
    fs::write(&file, "").unwrap();
    let error = PlanCache::new(&file).keep(&key(), b"plan").unwrap_err();
    assert!(matches!(error, CacheError::Unwritable { .. }), "{error}");
    // If a folder has the plan's path, the rename fails, and no temporary file is left.
    let cache = PlanCache::new(folder.path().join("plans"));
    fs::create_dir_all(cache.path(&key()).join("in the way")).unwrap();
    let error = cache.keep(&key(), b"plan").unwrap_err();
    assert!(matches!(error, CacheError::Unwritable { .. }), "{error}");
    assert_eq!(
        fs::read_dir(folder.path().join("plans")).unwrap().count(),
        1
    );
    assert!(matches!(
        cache.load(&key()),
        Err(CacheError::Unreadable { .. })
    ));
}

#[test]
fn a_plan_that_others_could_have_written_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("plans");
    let cache = PlanCache::new(&place);
    let path = cache.keep(&key(), b"plan").unwrap();
    let mode = |place: &Path, mode: u32| {
        fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused = |what: &Path| {
        let error = cache.load(&key()).unwrap_err();
        assert!(matches!(error, CacheError::Untrusted { .. }), "{error}");
        let place = fs::canonicalize(what).unwrap();
        let reason = format!("{} can be written by others", place.display());
        assert!(error.to_string().starts_with(&reason), "{error}");
    };
    mode(&path, 0o666);
    refused(&path);
    mode(&path, 0o644);
    mode(&place, 0o777);
    refused(&place);
    let error = cache.keep(&key(), b"plan").unwrap_err();
    assert!(matches!(error, CacheError::Untrusted { .. }), "{error}");
    mode(&place, 0o755);
    assert_eq!(cache.load(&key()).unwrap().to_vec(), b"plan");

    // An intact plan in an untrusted folder, reached through a symlink.
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(&path, elsewhere.join("plan")).unwrap();
    mode(&elsewhere, 0o777);
    std::os::unix::fs::symlink(elsewhere.join("plan"), &path).unwrap();
    refused(&elsewhere);
}

/// A full disk, simulated by a limit on the process's file size: 4 blocks.
#[test]
fn a_full_disk_keeps_the_old_plan() {
    let folder = tempfile::tempdir().unwrap();
    let cache = PlanCache::new(folder.path());
    if let Some(folder) = std::env::var_os("PILOTAGE_TEST_SMALL_DISK") {
        let error = PlanCache::new(folder)
            .keep(&key(), &[1; 100_000])
            .unwrap_err();
        assert!(matches!(error, CacheError::Unwritable { .. }), "{error}");
        return;
    }
    cache.keep(&key(), b"old").unwrap();
    let again = std::process::Command::new("sh")
        .args(["-c", r#"ulimit -f 4; trap '' XFSZ; exec "$0" --exact "$1""#])
        .arg(std::env::current_exe().unwrap())
        .arg("a_full_disk_keeps_the_old_plan")
        .env("PILOTAGE_TEST_SMALL_DISK", folder.path())
        .output()
        .unwrap();
    assert!(
        again.status.success(),
        "{}",
        String::from_utf8_lossy(&again.stdout)
    );
    assert!(String::from_utf8_lossy(&again.stdout).contains("1 passed"));
    assert_eq!(cache.load(&key()).unwrap().to_vec(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn damaged(cache: &PlanCache) -> bool {
    matches!(cache.load(&key()), Err(CacheError::Damaged { .. }))
}

proptest! {
    #[test]
    fn a_truncated_or_changed_plan_is_never_loaded(
        plan in proptest::collection::vec(any::<u8>(), 0..300),
        place in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let cache = PlanCache::new(folder.path());
        let path = cache.keep(&key(), &plan).unwrap();
        prop_assert_eq!(cache.load(&key()).unwrap().to_vec(), plan);
        let whole = fs::read(&path).unwrap();
        let at = place.index(whole.len());
        fs::write(&path, &whole[..at]).unwrap();
        prop_assert!(damaged(&cache));
        let mut changed = whole;
        changed[at] ^= flip;
        fs::write(&path, &changed).unwrap();
        prop_assert!(damaged(&cache));
    }
}
