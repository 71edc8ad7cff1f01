//! The verdict on one case, from the values of the pins over time. It is a pure function, so that
//! tests can plant each kind of defect in a trace.

use std::time::Duration;

/// The pulses of steering and throttle, nanoseconds.
pub type Pulses = [u32; 2];

/// The values of the pins from a time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Time since the fault.
    pub at: Duration,
    pub pulses: Pulses,
}

/// The expected result at the pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The failsafe values.
    Failsafe,
    /// The failsafe or the disarmed values: an operator ended the drive.
    Rest,
    /// The car does not move at all.
    Nothing,
}

/// How a `pilotage stop` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopSeen {
    /// The exit status; `None` if it did not end or was killed.
    pub status: Option<i32>,
    /// The guard was responsive before, and could be reached.
    pub healthy_guard: bool,
    /// The guard was gone afterwards.
    pub guard_gone: bool,
}

/// What happened during a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    pub expected: Expected,
    /// The longest time from the fault to rest, without the machine's jitter.
    pub limit: Duration,
    /// The longest delay of a real-time thread's sleep during the case.
    pub jitter: Duration,
    /// When the frozen or broken part worked again.
    pub mended: Duration,
    /// Until when the pins were watched.
    pub watched: Duration,
    /// The guard's deadline.
    pub deadline: Duration,
    pub stop: Option<StopSeen>,
    /// Whether arming was possible while a stop was held.
    pub armed_while_held: bool,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// The car did not drive when the fault struck: the case shows nothing.
    DidNotDrive,
    NeverStood,
    Late,
    /// The car stopped, and moved again before the fault was repaired.
    DidNotStay,
    /// The car stopped, and drove off after the fault was repaired.
    DroveOff,
    /// The car moved though it was not armed.
    Moved,
    StopFailed,
    StopKilledAHealthyGuard,
    ArmedWhileHeld,
    /// The test did not watch for long enough.
    NotWatched,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// In time by the clock.
    InTime(Duration),
    /// In time only if the machine's jitter is subtracted.
    InTimeWithJitter(Duration),
    /// The machine's jitter was too large to measure anything.
    Void(Duration),
    Missed(Defect, Duration),
}

impl Verdict {
    /// From the fault to rest.
    pub const fn took(self) -> Duration {
        match self {
            Self::InTime(took)
            | Self::InTimeWithJitter(took)
            | Self::Void(took)
            | Self::Missed(_, took) => took,
        }
    }

    pub const fn defect(self) -> Option<Defect> {
        match self {
            Self::Missed(defect, _) => Some(defect),
            _ => None,
        }
    }
}

/// The largest jitter of a valid case; a case with more is repeated.
pub const MOST_JITTER: Duration = Duration::from_millis(20);

/// The failsafe values; that of the throttle is its neutral.
pub const FAILSAFE: Pulses = [1_480_000, 1_500_000];

/// Whether the motor turns.
pub const fn moves(pulses: Pulses) -> bool {
    pulses[1] != 0 && pulses[1] != FAILSAFE[1]
}

/// Whether each channel holds its failsafe or its disarmed value.
pub fn rests(pulses: Pulses) -> bool {
    let of = |channel: usize| pulses[channel] == 0 || pulses[channel] == FAILSAFE[channel];
    of(0) && of(1)
}

/// Judges a case by its trace, whose first sample was taken just before the fault.
pub fn judge(trace: &[Sample], events: &Events) -> Verdict {
    if events.expected == Expected::Nothing {
        return match trace.iter().find(|sample| moves(sample.pulses)) {
            Some(moving) => Verdict::Missed(Defect::Moved, moving.at),
            None => Verdict::InTime(Duration::ZERO),
        };
    }
    if !trace.first().is_some_and(|first| moves(first.pulses)) {
        return Verdict::Missed(Defect::DidNotDrive, Duration::ZERO);
    }
    let is_stopped = |sample: &Sample| match events.expected {
        Expected::Failsafe => sample.pulses == FAILSAFE,
        Expected::Rest | Expected::Nothing => rests(sample.pulses),
    };
    let Some(first) = trace.iter().position(is_stopped) else {
        return Verdict::Missed(Defect::NeverStood, events.watched);
    };
    let took = trace[first].at;
    if took >= events.mended {
        return Verdict::Missed(Defect::NeverStood, took);
    }
    let missed = |defect| Verdict::Missed(defect, took);
    if let Some(after) = trace[first..].iter().find(|sample| !rests(sample.pulses)) {
        return missed(match after.at < events.mended {
            true => Defect::DidNotStay,
            false => Defect::DroveOff,
        });
    }
    let before = events.mended.saturating_sub(took);
    let after = events.watched.saturating_sub(events.mended);
    if before < events.deadline * 2 || after < events.deadline * 2 {
        return missed(Defect::NotWatched);
    }
    if events.armed_while_held {
        return missed(Defect::ArmedWhileHeld);
    }
    if let Some(stop) = events.stop {
        if stop.status != Some(0) {
            return missed(Defect::StopFailed);
        }
        if stop.healthy_guard && stop.guard_gone {
            return missed(Defect::StopKilledAHealthyGuard);
        }
    }
    if events.jitter > MOST_JITTER {
        Verdict::Void(took)
    } else if took <= events.limit {
        Verdict::InTime(took)
    } else if took <= events.limit + events.jitter {
        Verdict::InTimeWithJitter(took)
    } else {
        missed(Defect::Late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const MOVING: Pulses = [1_600_000, 1_580_000];

    const EVENTS: Events = Events {
        expected: Expected::Failsafe,
        limit: ms(65),
        jitter: ms(1),
        mended: ms(200),
        watched: ms(400),
        deadline: ms(60),
        stop: None,
        armed_while_held: false,
    };

    const STOP: StopSeen = StopSeen {
        status: Some(0),
        healthy_guard: true,
        guard_gone: false,
    };

    /// A good case, followed by additional samples.
    fn trace(stopped: u64, more: &[(u64, Pulses)]) -> Vec<Sample> {
        let usual = [(0, MOVING), (stopped, FAILSAFE)];
        let all = usual.iter().chain(more);
        all.map(|&(at, pulses)| Sample { at: ms(at), pulses })
            .collect()
    }

    fn defect(trace: &[Sample], events: Events) -> Option<Defect> {
        judge(trace, &events).defect()
    }

    #[test]
    fn a_good_case_is_good_and_its_time_is_that_of_the_first_rest() {
        assert_eq!(judge(&trace(61, &[]), &EVENTS), Verdict::InTime(ms(61)));
        let disarmed = [(230, [0, FAILSAFE[1]]), (231, [0, 0])];
        let verdict = judge(&trace(61, &disarmed), &EVENTS);
        assert_eq!(verdict, Verdict::InTime(ms(61)));
    }

    #[test]
    fn a_late_failsafe_is_found() {
        assert_eq!(defect(&trace(67, &[]), EVENTS), Some(Defect::Late));
        let late = judge(&trace(66, &[]), &EVENTS);
        assert_eq!(late, Verdict::InTimeWithJitter(ms(66)));
        assert_eq!(late.took(), ms(66));
    }

    #[test]
    fn a_car_that_never_stands_is_found_whatever_the_jitter() {
        let jitter = ms(500);
        let moving = &trace(61, &[])[..1];
        let events = Events { jitter, ..EVENTS };
        assert_eq!(defect(moving, events), Some(Defect::NeverStood));
        // Failsafe of the steering alone does not stop the car.
        let half = [trace(61, &[])[0]]
            .into_iter()
            .chain([Sample {
                at: ms(20),
                pulses: [FAILSAFE[0], MOVING[1]],
            }])
            .collect::<Vec<_>>();
        assert_eq!(defect(&half, EVENTS), Some(Defect::NeverStood));
    }

    #[test]
    fn a_car_that_stops_only_after_the_repair_counts_as_not_stopped() {
        let stopped = trace(210, &[]);
        assert_eq!(defect(&stopped, EVENTS), Some(Defect::NeverStood));
    }

    #[test]
    fn a_failsafe_that_does_not_stay_is_found() {
        let again = trace(61, &[(90, MOVING), (91, FAILSAFE)]);
        assert_eq!(defect(&again, EVENTS), Some(Defect::DidNotStay));
        let steering = trace(61, &[(90, [MOVING[0], FAILSAFE[1]])]);
        assert_eq!(defect(&steering, EVENTS), Some(Defect::DidNotStay));
    }

    #[test]
    fn a_car_that_drives_off_when_its_pilot_goes_on_is_found() {
        let off = trace(61, &[(210, MOVING)]);
        assert_eq!(defect(&off, EVENTS), Some(Defect::DroveOff));
    }

    #[test]
    fn a_case_that_was_not_watched_for_long_enough_is_invalid() {
        for (mended, watched) in [(ms(100), ms(400)), (ms(200), ms(300))] {
            let events = Events {
                mended,
                watched,
                ..EVENTS
            };
            let seen = defect(&trace(61, &[]), events);
            assert_eq!(seen, Some(Defect::NotWatched));
        }
    }

    #[test]
    fn a_car_that_did_not_drive_before_the_fault_shows_nothing() {
        let stopped = &trace(0, &[])[1..];
        assert_eq!(defect(stopped, EVENTS), Some(Defect::DidNotDrive));
        assert_eq!(defect(&[], EVENTS), Some(Defect::DidNotDrive));
    }

    #[test]
    fn the_exit_status_of_a_stop_counts() {
        for status in [Some(1), Some(2), None] {
            let stop = Some(StopSeen { status, ..STOP });
            let seen = defect(&trace(10, &[]), Events { stop, ..EVENTS });
            assert_eq!(seen, Some(Defect::StopFailed));
        }
        let stop = Some(STOP);
        assert_eq!(defect(&trace(10, &[]), Events { stop, ..EVENTS }), None);
    }

    #[test]
    fn a_stop_kills_no_healthy_guard() {
        let killed = StopSeen {
            guard_gone: true,
            ..STOP
        };
        let of = |stop| {
            let stop = Some(stop);
            defect(&trace(10, &[]), Events { stop, ..EVENTS })
        };
        assert_eq!(of(killed), Some(Defect::StopKilledAHealthyGuard));
        let frozen = StopSeen {
            healthy_guard: false,
            ..killed
        };
        assert_eq!(of(frozen), None);
    }

    #[test]
    fn a_car_armed_under_a_held_stop_is_found() {
        let events = Events {
            armed_while_held: true,
            ..EVENTS
        };
        let seen = defect(&trace(10, &[]), events);
        assert_eq!(seen, Some(Defect::ArmedWhileHeld));
    }

    #[test]
    fn too_much_jitter_makes_a_case_void_and_excuses_nothing_but_its_time() {
        let jitter = ms(21);
        let events = Events { jitter, ..EVENTS };
        assert_eq!(judge(&trace(80, &[]), &events), Verdict::Void(ms(80)));
        assert_eq!(judge(&trace(61, &[]), &events), Verdict::Void(ms(61)));
        let off = trace(61, &[(210, MOVING)]);
        assert_eq!(defect(&off, events), Some(Defect::DroveOff));
        let at_most = Events {
            jitter: MOST_JITTER,
            ..EVENTS
        };
        let verdict = judge(&trace(80, &[]), &at_most);
        assert_eq!(verdict, Verdict::InTimeWithJitter(ms(80)));
    }

    #[test]
    fn where_nothing_may_move_any_motion_is_found() {
        let expected = Expected::Nothing;
        let events = Events { expected, ..EVENTS };
        let sample = |at, pulses| Sample { at: ms(at), pulses };
        let still = [sample(0, [0, 0]), sample(5, FAILSAFE)];
        assert_eq!(defect(&still, events), None);
        let moved = [still[0], sample(80, [0, 1_520_000]), sample(90, [0, 0])];
        assert_eq!(defect(&moved, events), Some(Defect::Moved));
    }

    #[test]
    fn an_orderly_end_may_leave_the_car_disarmed_and_a_fault_may_not() {
        let disarmed = [
            Sample {
                at: Duration::ZERO,
                pulses: MOVING,
            },
            Sample {
                at: ms(20),
                pulses: [0, 0],
            },
        ];
        assert_eq!(defect(&disarmed, EVENTS), Some(Defect::NeverStood));
        let expected = Expected::Rest;
        let verdict = judge(&disarmed, &Events { expected, ..EVENTS });
        assert_eq!(verdict, Verdict::InTime(ms(20)));
    }
}
