//! A second compilation reuses what the first one measured.

use std::fs;
use std::sync::Mutex;

use pilotage_compiler::{Cache, Observer, Recipe, Run, Stage, compile_run};
use pilotage_config::Source;

use crate::Project;

/// The passes of a compilation.
#[derive(Default)]
struct Passes(Mutex<Vec<(Stage, bool)>>);

impl Passes {
    /// How many passes of a stage were made, and how many were reused.
    fn of(&self, stage: Stage) -> [usize; 2] {
        let passes = self.0.lock().unwrap();
        let count = |reused| {
            passes
                .iter()
                .filter(|&&pass| pass == (stage, reused))
                .count()
        };
        [count(false), count(true)]
    }
}

impl Observer for Passes {
    fn pass(&self, stage: Stage, _: usize) {
        self.0.lock().unwrap().push((stage, false));
    }

    fn frame(&self) {}

    fn reused(&self, stage: Stage) {
        self.0.lock().unwrap().push((stage, true));
    }
}

impl Project {
    /// Compiles with the cache in `net.cache`, for a program with the given content. Also returns
    /// whether the cache was damaged.
    fn compile_cached(&self, program: &str) -> (Vec<u8>, Passes, bool) {
        let file = |name: &str| self.folder.path().join(name);
        fs::write(file("program"), program).unwrap();
        let cache = Cache::read(&file("net.cache"), &file("program")).unwrap();
        let (path, passes) = (self.path(), Passes::default());
        let (recipe, text) = Recipe::read(&path).unwrap();
        let name = path.display().to_string();
        let source = Source::new(&name, &text);
        let run = Run::new(Some(&passes), Some(&cache));
        let compiled = compile_run(recipe, &source, self.folder.path(), "net", run).unwrap();
        // A folder in its place cannot be replaced.
        let _ = cache.write();
        (compiled.bytes, passes, cache.is_damaged())
    }
}

const MEASURED: [Stage; 3] = [Stage::Calibration, Stage::Search, Stage::Table];

#[test]
fn a_second_compilation_reuses_what_did_not_change_and_gives_the_same_bytes() {
    let mut project = Project::new("pytorch", "int8");
    let fresh = project.compile().bytes;
    let (bytes, passes, _) = project.compile_cached("one");
    assert!(bytes == fresh);
    for stage in MEASURED {
        assert!(passes.of(stage)[0] > 0, "{stage:?}");
        assert_eq!(passes.of(stage)[1], 0, "{stage:?}");
    }
    let first = passes;
    let (bytes, passes, damaged) = project.compile_cached("one");
    assert!(bytes == fresh && !damaged);
    for stage in MEASURED {
        let [made, _] = first.of(stage);
        assert_eq!(passes.of(stage), [0, made], "{stage:?}");
    }
    // An engine is always compared with fp32.
    for stage in [Stage::Reference, Stage::Gate, Stage::Layers] {
        assert_eq!(passes.of(stage), first.of(stage), "{stage:?}");
    }

    // Another limit changes the engine file, and nothing that is measured.
    let tables = project.tables.clone();
    let steering = "meaning = \"steering\"\n";
    let other = format!("{steering}gate = {{ worst = 0.9 }}\n");
    project.tables = tables.replacen(steering, &other, 1);
    let (bytes, passes, _) = project.compile_cached("one");
    assert!(bytes != fresh);
    assert_eq!(passes.of(Stage::Calibration)[0], 0);
    // Another method: the measurements stay, their ranges differ, and so do the graphs after them.
    project.tables = tables.clone() + "method = \"minmax\"\n";
    let (bytes, passes, _) = project.compile_cached("one");
    assert!(bytes == project.compile().bytes);
    assert_eq!(passes.of(Stage::Calibration), [0, 2]);
    assert!(passes.of(Stage::Search)[0] > 0);
    assert_eq!(passes.of(Stage::Table)[0], 0);
    // Other frames, and another program.
    project.tables = tables;
    fs::remove_file(project.folder.path().join("frames/000.png")).unwrap();
    let (bytes, passes, damaged) = project.compile_cached("two");
    assert!(bytes != fresh && !damaged);
    assert!(MEASURED.iter().all(|&stage| passes.of(stage)[1] == 0));
    let (_, passes, _) = project.compile_cached("one");
    assert!(MEASURED.iter().all(|&stage| passes.of(stage)[1] == 0));
}

#[test]
fn a_damaged_cache_is_ignored_and_replaced() {
    let project = Project::new("pytorch", "int8");
    let file = project.folder.path().join("net.cache");
    let (bytes, ..) = project.compile_cached("one");
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let other = [&b"PLTCACH0"[..], &whole[8..]].concat();
    let program = project.folder.path().join("program");
    let is_damaged = || Cache::read(&file, &program).unwrap().is_damaged();
    assert!(!is_damaged());
    for damaged in [&whole[..whole.len() - 1], &other, &[], &flipped] {
        fs::write(&file, damaged).unwrap();
        assert!(is_damaged());
    }
    let (found, passes, _) = project.compile_cached("one");
    assert!(found == bytes && fs::read(&file).unwrap() == whole);
    assert_eq!(passes.of(Stage::Calibration)[1], 0);
    fs::remove_file(&file).unwrap();
    assert!(!is_damaged());
    fs::create_dir(&file).unwrap();
    assert!(is_damaged());
}
