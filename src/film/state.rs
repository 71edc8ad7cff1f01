//! What the car did at a time, and its words and figures for the panel below the picture.

use pilotage_dataset::Record;
use pilotage_drivelog::{Frame, Guard, Stop};

use crate::plot::{FilmPanel, Gauge, Tone};

/// A picture that is older is called missing, seconds.
const STALE: f64 = 0.5;

/// What the car did at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct State {
    /// Seconds from the first picture.
    pub time: f64,
    /// Steering and throttle that the pilot sent to the guard.
    asked: [Option<f32>; 2],
    /// What the guard put out; in a recording, what was recorded.
    given: [Option<f32>; 2],
    /// m/s.
    speed: Option<f32>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Of a log.
    Guarded {
        guard: Guard,
        stop: Option<Stop>,
        by_hand: bool,
        fallback: bool,
    },
    Recorded,
}

impl State {
    /// Of an iteration at `time`.
    pub fn of_frame(frame: &Frame, time: f64) -> Self {
        let asked = frame.command && frame.guard != Guard::Disarmed;
        Self {
            time,
            asked: frame.asked.map(|value| asked.then_some(value)),
            given: frame.granted.map_or([None; 2], |granted| granted.map(Some)),
            speed: frame.simulated.map(|car| car.speed),
            kind: Kind::Guarded {
                guard: frame.guard,
                stop: frame.stop,
                by_hand: frame.by_hand,
                fallback: frame.fallback,
            },
        }
    }

    /// Of a record at `time`.
    pub fn of_record(record: &Record, time: f64) -> Self {
        let short = |value: Option<f64>| value.map(|value| value as f32);
        Self {
            time,
            asked: [None; 2],
            given: [short(record.steering), short(record.throttle)],
            speed: short(record.speed),
            kind: Kind::Recorded,
        }
    }

    /// The panel at `time`, with a picture that is `age` seconds old.
    pub fn panel(&self, time: f64, age: f64) -> FilmPanel {
        let gauge = |index: usize| Gauge {
            asked: self.asked[index].filter(|it| it.is_finite()),
            given: self.given[index].filter(|it| it.is_finite()),
        };
        let (status, tone) = self.status();
        FilmPanel {
            status,
            tone,
            time,
            speed: self.speed.filter(|it| it.is_finite()),
            missing: (age > STALE).then_some(age),
            steering: gauge(0),
            throttle: gauge(1),
            is_guarded: self.kind != Kind::Recorded,
        }
    }

    fn status(&self) -> (String, Tone) {
        let Kind::Guarded {
            guard,
            stop,
            by_hand,
            fallback,
        } = self.kind
        else {
            return ("recorded drive".to_owned(), Tone::Idle);
        };
        let idle = |text: &str| (text.to_owned(), Tone::Idle);
        match guard {
            Guard::Unknown => idle("state of the guard unknown"),
            Guard::Disarmed => idle("disarmed"),
            Guard::Armed => idle("armed, no command yet"),
            Guard::Trimming => idle("trimming"),
            Guard::Driving => {
                let text = match (by_hand, fallback) {
                    (true, _) => "driving by hand",
                    (false, true) => "driving on the fallback engine",
                    (false, false) => "driving",
                };
                (text.to_owned(), Tone::Good)
            }
            Guard::Stopped => {
                let reason = stop.map_or_else(|| Stop::Unknown.words(), Stop::words);
                (format!("stopped: {reason}"), Tone::Trouble)
            }
        }
    }
}
