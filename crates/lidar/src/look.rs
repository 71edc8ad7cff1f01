//! How a lidar does, for an operator who checks its wires and its mounting.

use std::fmt;
use std::time::{Duration, Instant};

use pilotage_vehicle::Scan;

use crate::packet::Counts;
use crate::port::Port;
use crate::turn::Assembly;
use crate::{LidarConfig, LidarError};

/// What was seen of a lidar in some seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Sight {
    /// Whole turns a second.
    pub rate: f64,
    /// The speed of its head, turns a minute.
    pub rpm: f64,
    /// What arrived.
    pub counts: Counts,
    /// The latest scan.
    pub scan: Scan,
}

impl Sight {
    /// The share of packets that were damaged.
    pub fn bad_share(&self) -> f64 {
        let all = self.counts.good + self.counts.bad;
        self.counts.bad as f64 / all.max(1) as f64
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bad = 100.0 * self.bad_share();
        let (rate, rpm) = (self.rate, self.rpm);
        write!(
            f,
            "{rate:.1} scans a second, {rpm:.0} rpm, {bad:.1} % of the packets damaged; "
        )?;
        match self.scan.nearest_echo() {
            Some((angle, millimetres)) => {
                let side = match angle.round() {
                    0.0 => "ahead".to_owned(),
                    left if left > 0.0 => format!("{left} degrees to the left"),
                    right => format!("{} degrees to the right", -right),
                };
                let metres = f64::from(millimetres) * 1e-3;
                write!(f, "nearest echo at {metres:.2} m, {side}")
            }
            None => write!(f, "no echo"),
        }
    }
}

/// Reads the lidar of `config` for `duration`.
///
/// # Errors
/// If its port cannot be opened, or gives no whole turn in this time.
pub fn look(config: &LidarConfig, duration: Duration) -> Result<Sight, LidarError> {
    let mut assembly = Assembly::new(config);
    let mut port = Port::open(config)?;
    let (began, mut turns, mut first) = (Instant::now(), 0_u32, None);
    let mut latest = began;
    while let Some(left) = duration.checked_sub(began.elapsed()) {
        let read = port.read(&mut assembly, left, |_, _| {
            turns += 1;
            latest = Instant::now();
            first.get_or_insert(latest);
        });
        read.map_err(|reason| LidarError::Gone {
            path: config.port.clone(),
            reason,
        })?;
    }
    let Some(first) = first else {
        return Err(port.without_scan(&config.port));
    };
    let seconds = (latest - first).as_secs_f64();
    Ok(Sight {
        rate: match turns {
            1 => 1.0 / duration.as_secs_f64(),
            _ => f64::from(turns - 1) / seconds.max(1e-3),
        },
        rpm: f64::from(port.speed()) / 6.0,
        counts: port.counts(),
        scan: assembly.scan().clone(),
    })
}
