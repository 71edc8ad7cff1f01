//! Chooses runs of consecutive records, for networks with a memory.

use std::collections::BTreeSet;

use pilotage_dataset::{Record, evenly};

/// The most frames of a run: a few seconds of a drive.
const LONGEST: usize = 32;
/// The least number of runs that a recording is divided into, where its length allows it: some are
/// held back.
const LEAST_RUNS: usize = 18;

/// At most `most` records in runs, evenly chosen; and the records that begin a run.
pub(super) fn choose(records: &[Record], most: usize) -> (Vec<usize>, BTreeSet<usize>) {
    let length = (records.len().min(most) / LEAST_RUNS).clamp(2, LONGEST);
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for (index, record) in records.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.len() < length && record.follows(&records[index - 1]) => {
                run.push(index);
            }
            _ => runs.push(vec![index]),
        }
    }
    // What is left at the end of a drive may be too short to show a memory.
    let whole: Vec<&Vec<usize>> = runs.iter().filter(|run| run.len() == length).collect();
    let runs = match whole.len() >= 2 {
        true => whole,
        false => runs.iter().collect(),
    };
    let chosen = evenly(runs.len(), (most / length).max(2));
    let chosen = chosen.into_iter().map(|run| runs[run]);
    let starts = chosen.clone().filter_map(|run| run.first().copied());
    (
        chosen.clone().flatten().copied().collect(),
        starts.collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(time: Option<f64>) -> Record {
        Record {
            time,
            ..Record::default()
        }
    }

    #[test]
    fn runs_are_consecutive_and_end_with_their_drive() {
        // Three drives of 40 records, 50 ms apart.
        let times =
            (0..3).flat_map(|drive| (0..40).map(move |i| f64::from(drive * 100 + i) * 0.05));
        let records: Vec<Record> = times.map(|time| record(Some(time))).collect();
        let (chosen, starts) = choose(&records, 1000);
        // 120 / 18
        assert_eq!(starts.len(), 18);
        assert_eq!(chosen.len(), 18 * 6);
        for run in chosen.chunks(6) {
            assert!(starts.contains(&run[0]));
            assert!(run.windows(2).all(|pair| pair[1] == pair[0] + 1));
            assert_eq!(run[0] / 40, run[5] / 40, "{run:?}");
        }
        let (few, starts) = choose(&records, 40);
        assert_eq!((few.len(), starts.len()), (40, 20));
    }

    #[test]
    fn records_without_times_are_one_drive() {
        let records = vec![record(None); 1000];
        let (chosen, starts) = choose(&records, 1000);
        assert_eq!(starts.len(), 31);
        assert_eq!(chosen.len(), 31 * 32);
    }
}
