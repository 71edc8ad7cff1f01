//! The table of docs/safety.md.

use std::time::Duration;

use crate::fault::Fault;
use crate::judge::Verdict;
use crate::strike::Case;

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A case is late if it took longer than the limit by the clock. It is missed if it did so even
/// without the machine's jitter, or failed in another way.
pub fn print(cases: &[Case], void: &[Case]) {
    println!(
        "| fault | times | median ms | 99 % ms | longest ms | at most ms | jitter ms | late | \
         missed | void |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for fault in Fault::ALL {
        let of = || cases.iter().filter(|case| case.fault == fault);
        let mut times: Vec<f64> = of().map(|case| ms(case.verdict.took())).collect();
        times.sort_by(f64::total_cmp);
        let Some(last) = times.len().checked_sub(1) else {
            continue;
        };
        let at = |share: f64| times[(last as f64 * share).round() as usize];
        let jitter = of().map(|case| case.jitter).max().unwrap_or_default();
        let missed = of().filter(|case| matches!(case.verdict, Verdict::Missed(..)));
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:.0} | {:.1} | {} | {} | {} |",
            fault.name(),
            times.len(),
            at(0.5),
            at(0.99),
            at(1.0),
            ms(fault.limit()),
            ms(jitter),
            of().filter(|case| case.is_late()).count(),
            missed.count(),
            void.iter().filter(|case| case.fault == fault).count(),
        );
    }
}
