//! The search over combinations of strategies.

use std::fs;

use pilotage_engine::Bundle;
use pilotage_training::search::{Merit, SearchPlan, front, search};

use crate::optimise::{RECIPE, project};

#[test]
fn a_search_finds_engines_that_no_other_surpasses() {
    let folder = tempfile::tempdir().unwrap();
    let plan = project(folder.path());
    let text = RECIPE.replace("epochs = 10", "epochs = 2");
    fs::write(folder.path().join("lane.toml"), text).unwrap();
    let out = folder.path().join("found");
    let search_plan = SearchPlan {
        recipe: plan.recipe,
        data: plan.data,
        model: None,
        out: out.clone(),
        trial_epochs: 1,
        force: false,
    };
    let mut trained = Vec::new();
    let found = search(&search_plan, |name, is_full, merit| {
        assert!(merit.error.is_finite() && merit.bytes > 0 && !merit.time.is_zero());
        if is_full {
            trained.push(name.to_owned());
        }
    })
    .unwrap();
    assert_eq!(found.tried.len() + found.impossible.len(), 15);
    let full = found.tried.iter().filter(|it| it.full.is_some());
    assert!(full.map(|it| &it.name).eq(&trained));
    let best: Vec<Merit> = (found.tried.iter())
        .filter(|it| it.is_best)
        .filter_map(|it| it.full)
        .collect();
    assert!(
        !best.is_empty() && front(&best, 1.0).iter().all(|it| *it),
        "{best:?}"
    );
    for name in &trained {
        let engine = fs::read(out.join(format!("{name}.engine"))).unwrap();
        Bundle::read(&engine).unwrap();
    }
    let table = fs::read_to_string(out.join("search.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + found.tried.len());
    assert!(
        table.lines().all(|line| line.split(',').count() == 8),
        "{table}"
    );
    // What was found is kept.
    let error = search(&search_plan, |_, _, _| ()).unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
}
