use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::driven::Driven;
use super::merge::joined;
use super::plan::{Conditions, Partition, Plan, RacedCircuit, Seeds};
use super::store::Store;
use super::table::{Summary, markdown, runs_csv};
use super::*;
use crate::report::BehaviorMetricsAverages;

fn conditions() -> Conditions {
    let car = Car::load_with(None, |_| ()).unwrap();
    Conditions::of(&car, None, 0.25, None)
}

fn engine(name: &str) -> Compared {
    Compared {
        name: name.to_owned(),
        precision: "int8".to_owned(),
        bytes: 1 << 20,
        weight_bytes: 1 << 19,
        sha256: format!("of {name}"),
        argument: None,
    }
}

fn circuit(name: &str) -> RacedCircuit {
    RacedCircuit {
        name: name.to_owned(),
        source: "shipped".to_owned(),
        reference: CENTRE_LINE.to_owned(),
    }
}

fn plan(engines: usize, circuits: usize, seeds: u64) -> Plan {
    let engines = (0..engines).map(|it| engine(&format!("engine-{it}")));
    let circuits = (0..circuits).map(|it| circuit(&format!("circuit-{it}")));
    let seeds: Vec<u64> = (1..=seeds).collect();
    Plan::new(conditions(), engines.collect(), circuits.collect(), &seeds)
}

/// A result that differs from that of any other job.
fn driven(job: &Job) -> Driven {
    let own = job.file_stem().bytes().fold(7_u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(byte.into())
    });
    let own = f64::from(own) / 1e6;
    Driven {
        finished: own > 500.0,
        outcome: "done".to_owned(),
        circuit_length: 431.0,
        percentage_completed: 100.0,
        lap_time: Some(own),
        time: own,
        distance: own,
        average_speed: own,
        deviation_mean: own,
        deviation_p95: own,
        deviation_max: own,
        position_deviation_mae: None,
        brain_iteration_frequency: Some(own),
        mean_inference_time: Some(own),
        real_time_factor: Some(own),
        behavior_metrics: BehaviorMetricsAverages::default(),
        thinking_p50_us: own,
        thinking_p99_us: own,
        frames: 100,
        frames_missed: 25,
        stops: 0,
        backend: "CPU".to_owned(),
        processor: "a processor".to_owned(),
    }
}

fn keep<'a>(store: &Store, plan: &Plan, jobs: impl Iterator<Item = &'a Job>) {
    for job in jobs {
        store.keep(plan, job, driven(job), &[]).unwrap();
    }
}

/// A folder with the results of a part.
fn part(folder: &Path, plan: &Plan, partition: Partition) -> PathBuf {
    let (store, plan) = Store::open(folder, plan).unwrap();
    fs::create_dir_all(folder.join("circuits")).unwrap();
    for circuit in &plan.circuits {
        let track = folder
            .join("circuits")
            .join(format!("{}.json", circuit.name));
        fs::write(track, "{}").unwrap();
    }
    let own = plan.jobs.iter().enumerate();
    let own = own.filter(|(place, _)| partition.takes(*place));
    keep(&store, &plan, own.map(|(_, job)| job));
    folder.to_owned()
}

fn partition(index: usize, count: usize) -> Partition {
    format!("{index}/{count}").parse().unwrap()
}

proptest! {
    #[test]
    fn every_job_is_of_exactly_one_part(jobs in 0_usize..200, count in 1_usize..40) {
        let parts = 1..=count;
        let mut sizes = Vec::new();
        for place in 0..jobs {
            let takers = parts.clone().filter(|index| partition(*index, count).takes(place));
            prop_assert_eq!(takers.count(), 1);
        }
        for index in parts {
            sizes.push((0..jobs).filter(|place| partition(index, count).takes(*place)).count());
        }
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{:?}", sizes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn the_parts_joined_in_any_order_are_the_whole(
        engines in 1_usize..4,
        circuits in 1_usize..3,
        seeds in 1_u64..4,
        order in Just((1_usize..=4).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(engines, circuits, seeds);
        let parts: Vec<PathBuf> = order
            .iter()
            .map(|&index| {
                part(&folder.path().join(index.to_string()), &plan, partition(index, 4))
            })
            .collect();
        let whole = part(&folder.path().join("whole"), &plan, Partition::WHOLE);
        let out = folder.path().join("out");
        let (store, joint) = joined(&parts, &out).unwrap();
        let results = store.results(&joint).unwrap();
        prop_assert_eq!(results.len(), plan.jobs.len());
        let (store, plan) = Store::existing(&whole).unwrap();
        let expected = store.results(&plan).unwrap();
        prop_assert_eq!(runs_csv(&results).unwrap(), runs_csv(&expected).unwrap());
        let tables = [(&joint, &results), (&plan, &expected)]
            .map(|(plan, results)| markdown(plan, &Summary::all(plan, results)));
        prop_assert_eq!(&tables[0], &tables[1]);
        // Once more changes nothing, and a part that is missing is noticed.
        let (store, joint) = joined(&parts, &out).unwrap();
        prop_assert_eq!(store.results(&joint).unwrap(), results);
        let some = folder.path().join("some");
        let (store, joint) = joined(&parts[..3], &some).unwrap();
        let taken = (0..plan.jobs.len()).filter(|place| !partition(order[3], 4).takes(*place));
        prop_assert_eq!(store.results(&joint).unwrap().len(), taken.count());
    }
}

#[test]
fn files_of_jobs_are_told_apart() {
    let plan = plan(3, 3, 4);
    let stems: BTreeSet<String> = plan.jobs.iter().map(Job::file_stem).collect();
    assert_eq!(stems.len(), 3 * 3 * 4);
}

#[test]
fn results_of_different_races_are_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let own = plan(1, 1, 2);
    let first = part(&at("first"), &own, Partition::WHOLE);
    let refused = |change: &dyn Fn(&mut Plan)| {
        let mut other = own.clone();
        change(&mut other);
        let error = Store::open(&first, &other).unwrap_err();
        let again = part(&at("other"), &other, Partition::WHOLE);
        joined(&[first.clone(), again], &at("out")).unwrap_err();
        fs::remove_dir_all(at("other")).unwrap();
        format!("{error:#}")
    };
    for (change, expected) in [
        (
            &(|plan: &mut Plan| plan.conditions.deadline_ms = 600.0) as &dyn Fn(&mut Plan),
            "`deadline_ms` is",
        ),
        (
            &|plan| plan.conditions.friction = Some(0.5),
            "`friction` is",
        ),
        (
            &|plan| plan.engines[0].sha256 = "another".to_owned(),
            "the engine `engine-0` is another one",
        ),
        (
            &|plan| plan.circuits[0].reference = "a file".to_owned(),
            "the circuit `circuit-0` is another one",
        ),
    ] {
        let error = refused(change);
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("name another folder"), "{error}");
    }
    // Two results of one drive.
    let second = part(&at("second"), &own, Partition::WHOLE);
    let (store, plan) = Store::existing(&second).unwrap();
    let job = &plan.jobs[1];
    let mut other = driven(job);
    other.lap_time = Some(1.0);
    store.keep(&plan, job, other, &[]).unwrap();
    let error = joined(&[first, second], &at("both")).unwrap_err();
    assert!(
        error.to_string().contains("engine-0 on circuit-0, seed 2"),
        "{error}"
    );
}

#[test]
fn a_damaged_result_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let own = plan(1, 1, 2);
    let first = part(folder.path(), &own, Partition::WHOLE);
    let (store, plan) = Store::existing(&first).unwrap();
    let file = first.join("runs/engine-0+circuit-0+1.json");
    let good = fs::read_to_string(&file).unwrap();
    for bad in ["", "{", "[]", "null", &good[..good.len() / 2]] {
        fs::write(&file, bad).unwrap();
        let error = format!("{:#}", store.results(&plan).unwrap_err());
        assert!(error.contains("engine-0+circuit-0+1.json"), "{error}");
        assert!(error.contains("delete it"), "{error}");
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(store.results(&plan).unwrap().len(), 1);
    fs::create_dir(&file).unwrap();
    let error = store.results(&plan).unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
    fs::write(first.join("race-plan.json"), "{}").unwrap();
    let error = Store::existing(&first).unwrap_err().to_string();
    assert!(error.contains("is not the plan of a race"), "{error}");
}

#[test]
fn a_plan_is_written_only_if_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("race-plan.json");
    // Compact, which no program writes.
    let text = serde_json::to_string(&plan(1, 1, 2)).unwrap();
    fs::write(&file, &text).unwrap();
    let (_, all) = Store::open(folder.path(), &plan(1, 1, 1)).unwrap();
    assert_eq!(all.jobs.len(), 2);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let (_, all) = Store::open(folder.path(), &plan(1, 1, 3)).unwrap();
    assert_eq!(all.jobs.len(), 3);
    assert_eq!(Store::existing(folder.path()).unwrap().1, all);
}

#[test]
fn a_plan_whose_names_leave_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let own = plan(1, 1, 1);
    for change in [
        &(|plan: &mut Plan| plan.engines[0].name = "../../x".to_owned()) as &dyn Fn(&mut Plan),
        &|plan| plan.circuits[0].name = "../../x".to_owned(),
        &|plan| plan.jobs[0].engine = "../../x".to_owned(),
        &|plan| plan.jobs[0].circuit = "../../x".to_owned(),
    ] {
        let from = folder.path().join("from");
        part(&from, &own, Partition::WHOLE);
        let mut bad = own.clone();
        change(&mut bad);
        let text = serde_json::to_string(&bad).unwrap();
        fs::write(from.join("race-plan.json"), text).unwrap();
        let out = folder.path().join("a/b/out");
        let error = joined(std::slice::from_ref(&from), &out)
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"../../x\" is no name in one"), "{error}");
        assert!(!folder.path().join("a").exists());
        fs::remove_dir_all(from).unwrap();
    }
    // Nothing is written of a drive that is not of the plan.
    let out = folder.path().join("out");
    let (store, whole) = Store::open(&out, &own).unwrap();
    let job = Job {
        engine: "../../x".to_owned(),
        ..own.jobs[0].clone()
    };
    store.keep(&whole, &job, driven(&job), &[]).unwrap_err();
    assert_eq!(fs::read_dir(out.join("paths")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn seeds_and_parts_are_read_as_they_are_written() {
    let seeds = |text: &str| text.parse::<Seeds>().map(|it| it.0);
    assert_eq!(seeds("1,5,10-12,11").unwrap(), [1, 5, 10, 11, 12]);
    assert_eq!(seeds("0").unwrap(), [0]);
    assert_eq!(seeds(&u64::MAX.to_string()).unwrap(), [u64::MAX]);
    for bad in ["", "x", "1,", "5-2", "-1", "0-18446744073709551615", "1.5"] {
        assert!(seeds(bad).is_err(), "{bad}");
    }
    for bad in ["", "0/3", "4/3", "1/0", "1", "1/3/4", "-1/3", "a/b"] {
        assert!(bad.parse::<Partition>().is_err(), "{bad}");
    }
}

#[test]
fn averages_are_over_the_drives_that_were_finished() {
    let plan = plan(1, 1, 3);
    let with = |finished: bool, speed: f64, job: &Job| Driven {
        finished,
        average_speed: speed,
        outcome: "off the road".to_owned(),
        ..driven(job)
    };
    let jobs = &plan.jobs;
    let results = [
        (jobs[0].clone(), with(true, 4.0, &jobs[0])),
        (jobs[1].clone(), with(false, 100.0, &jobs[1])),
        (jobs[2].clone(), with(true, 6.0, &jobs[2])),
    ]
    .into();
    let rows = Summary::all(&plan, &results);
    let [row] = &rows[..] else {
        panic!("{rows:?}");
    };
    let speed = row.average_speed.unwrap();
    assert_eq!((row.finished, speed.count, speed.mean), (2, 2, 5.0));
    // Sample standard deviation.
    assert!((speed.deviation.unwrap() - 2.0_f64.sqrt()).abs() < 1e-12);
    assert_eq!((speed.least, speed.largest), (4.0, 6.0));
    let text = markdown(&plan, &rows);
    for expected in [
        "| 5.000 ± 1.414 |",
        "| 2 of 3 |",
        "| 25 % |",
        "| centre line |",
        "| 1-3 |",
        "| 20.0 % |",
        "- engine-0 on circuit-0, seed 2: off the road, after 100 % of a lap.",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // Without a drive that was finished there are no averages, nor their units.
    let results = [(jobs[1].clone(), with(false, 1.0, &jobs[1]))].into();
    let text = markdown(&plan, &Summary::all(&plan, &results));
    assert!(
        text.contains("| 0 of 1 |") && !text.contains("|  % |"),
        "{text}"
    );
    assert!(text.contains("| - | - | - | centre line |"), "{text}");
}
